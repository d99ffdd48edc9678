package cells

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
	"watertight/leaktest"
)

// underGuard has the client's host do one thing after another, as its state is in files that each program of the lab has for itself.
// `watertight` is the program with the configuration of the leak test and a guard.
func (o *onlooker) underGuard(t testing.TB, script string) internet.Result {
	t.Helper()
	file := filepath.Join(o.s.Dir, "guarded.yaml")
	text := strings.Replace(dot(o.s), "timeout: 5s", "timeout: 2s", 1) + "listen: {proxy: \"127.0.0.1:0\"}\nguard: {allow: [10.0.0.0/8]}\n" +
		fmt.Sprintf("leaktest: {every: 0s, on_change: false, canary: {zone: %s, api: \"https://%[1]s/api\", channel: direct, ca: %q}}\n", canaryZone, o.s.CAFile)
	lab.Must(0, os.WriteFile(file, []byte(text), 0o600))(t)
	p := o.s.Client.Program("sh", "-eu", "-c", script, lab.Must(os.Executable())(t))
	p.Env = append(lab.Self(o.s.Client, lab.WatertightRole).Env, "C="+file, "D="+o.s.Dir)
	return lab.Run(t, p)
}

// TestGuard_TheLeakTestSeesWhetherItHolds plays G5, G6 and G12: sealed with a guard that is on, a leak where somebody has changed it so that
// other programs' packets leave, and nothing shown where it is off.
func TestGuard_TheLeakTestSeesWhetherItHolds(t *testing.T) {
	t.Parallel()
	lab.Need(t, "nft", "sh")
	s := lab.NewScene(t, internet.Dual)
	o := addOnlooker(t, s)
	result := o.underGuard(t, `
tried() { name=$1; shift; code=0; "$0" test -c "$C" --json "$@" >"$D/$name.json" || code=$?; echo "$name $code"; }
"$0" guard on -c "$C"
tried held --only GUARD-HELD,GUARD-REFUSES,CONTROL,PACKETS
nft insert rule inet watertight_guard output meta l4proto udp meta mark set 0x40000000 accept
nft insert rule inet watertight_guard output ct state established meta mark set 0x40000000 accept
nft delete table netdev watertight_guard
tried changed --only GUARD-HELD,GUARD-REFUSES
"$0" guard off -c "$C"
tried off --only GUARD-HELD
`)
	for _, want := range []string{"held 0\n", "changed 3\n", "off 1\n"} {
		if !strings.Contains(result.Stdout, want) {
			t.Errorf("no %q: %s", want, result.Text())
		}
	}
	says := func(name, id string, verdict leaktest.Verdict, cause string, evidence ...string) {
		t.Helper()
		var r leaktest.Report
		if err := json.Unmarshal(lab.Must(os.ReadFile(filepath.Join(s.Dir, name+".json")))(t), &r); err != nil {
			t.Fatalf("%v: %s", err, result.Text())
		}
		c, _ := r.Find(id)
		text := strings.Join(c.Evidence, "\n")
		if c.Verdict != verdict || cause != "" && c.Cause != cause {
			t.Errorf("%s: %s is %s by %s, not %s by %s: %s\n%s", name, id, c.Verdict, c.Cause, verdict, cause, c.Reason, text)
		}
		for _, e := range evidence {
			if !strings.Contains(text, e) {
				t.Errorf("%s: %s does not say %q:\n%s", name, id, e, text)
			}
		}
	}
	four, six := o.canary.Addr4.String(), "["+o.canary.Addr6.String()+"]"
	says("held", "GUARD-HELD", leaktest.Sealed, "G12", "the guard holds as it was turned on", "refused while the test ran: packets: ")
	says("held", "CONTROL", leaktest.Sealed, "", "the guard refused what the host's own resolver asked, and counted it")
	says("held", "PACKETS", leaktest.Sealed, "") // what was refused is told to who sent it, by packets with the name in them that leave by no interface
	for _, at := range []string{four, six} {
		says("held", "GUARD-REFUSES", leaktest.Sealed, "G6",
			"a datagram to "+at+":53 without the mark: refused", "a datagram to "+at+":853 without the mark: refused", "a connection to "+at+":853 without the mark: refused",
			"a connection to "+at+":443 without the mark: refused", "a connection to "+at+":443 that is older than the guard, as far as the firewall knows: refused",
			"a packet to "+at+":53 that was handed to ")
	}
	says("changed", "GUARD-HELD", leaktest.Leak, "G12")
	says("changed", "GUARD-REFUSES", leaktest.Leak, "G6", "LEAK: a datagram to "+four+":53", "LEAK: a connection to "+six+":443 that is older", "LEAK: a packet to "+four+":53 that was handed to ")
	says("off", "GUARD-HELD", leaktest.Inconclusive, "G12")
}
