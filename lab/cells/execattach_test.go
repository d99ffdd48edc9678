package cells

import (
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// untilCut calls and sends a datagram, calls until it cannot any more, says so, and then tries every other way once.
const untilCut = `
call() { curl --silent --show-error --fail --max-time 15 --cacert "$1" "https://$2/"; }
call "$@" || exit 1
python3 -I -c "$5" "$2"
echo up
while call "$@"; do :; done
echo cut
call "$@" && echo "a call arrived"
dig +tries=1 +time=5 "@$3" "$2" TXT | grep -q "status: NOERROR" && echo "a resolver answered over UDP"
dig +tries=1 +time=5 +tcp "@$3" "$2" TXT | grep -q "status: NOERROR" && echo "a resolver answered over TCP"
python3 -I -c "$4" "$2"
python3 -I -c "$5" "$2"
echo end
`

func TestExec_AProgramWhoseProxyIsKilledSendsNothingInClear(t *testing.T) {
	lab.Need(t, "curl", "dig", "python3")
	command := func(s *lab.Scene) []string {
		return []string{"sh", "-c", untilCut, "sh", s.CAFile, s.Canary, s.Client.Nameservers()[0].String(), multicast, plainUDP}
	}
	control := lab.NewScene(t, internet.Dual)
	alone := lab.Must(control.Client.Program("sh", command(control)[1:]...).Start(t.Context()))(t)
	if _, err := alone.AwaitOutput(t.Context(), "up\n"); err != nil {
		t.Fatal(err, alone.Sofar().Text())
	}
	alone.Kill()
	if leaks := control.Leaks(control.Gather(t, alone.Wait())); len(leaks) == 0 {
		t.Error("INVALID: the program alone was not seen to leak")
	}

	s, _ := packetScene(t, internet.Dual)
	file := write(t, s, dot(s))
	self := func(args ...string) *internet.Process {
		p := lab.Self(s.Client, lab.WatertightRole, args...)
		p.Env = append(p.Env, "RUNTIME_DIRECTORY="+filepath.Dir(file)) // each program has a /run of its own here
		return lab.Must(p.Start(t.Context()))(t)
	}
	proxy := self("run", "-c", file)
	if _, err := proxy.AwaitOutput(t.Context(), "ready: "); err != nil {
		t.Fatal(err, proxy.Sofar().Text())
	}
	p := self(append([]string{"exec", "--attach", "-c", file, "--"}, command(s)...)...)
	if _, err := p.AwaitOutput(t.Context(), "up\n"); err != nil {
		t.Fatal(err, p.Sofar().Text())
	}
	proxy.Kill()
	e := s.Gather(t, p.Wait())
	if !strings.HasSuffix(e.Client.Stdout, "end\n") {
		t.Errorf("the program did not come to its end: %s", e.Client.Text())
	}
	for _, leak := range s.Leaks(e) {
		t.Error("LEAK:", leak)
	}
	if !e.Delivered {
		t.Errorf("no call arrived while the proxy lived: %s", e.Client.Text())
	}
	before, after, _ := strings.Cut(e.Client.Stdout, "cut\n")
	if !strings.Contains(before, "answered ping") {
		t.Errorf("no datagram came back while the proxy lived: %s", e.Client.Text())
	}
	for _, never := range []string{"a call arrived", "a resolver answered", "answered ping"} {
		if strings.Contains(after, never) {
			t.Errorf("without a proxy %q: %s", never, e.Client.Text())
		}
	}
}
