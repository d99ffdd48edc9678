package httpproxy

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"watertight/fault"
	"watertight/httphead"
	"watertight/route"
)

// TestRealClientsAreServedAndPrintTheReason runs the clients that this host has.
func TestRealClientsAreServedAndPrintTheReason(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
	p := serve(t, nil)
	p.dialer.failWith(func(r route.Request) error {
		if r.Target.Port() == 443 {
			return fault.New(fault.DNSNXDomain, r.Target.Host().String()+" does not exist", nil)
		}
		return nil
	})
	good, bad := "http://a.example:"+port+"/", "https://missing.example/"
	python := "import urllib.request as u, sys; " +
		"print(u.build_opener(u.ProxyHandler({'http': sys.argv[1], 'https': sys.argv[1]})).open(sys.argv[2], timeout=20).read().decode())"
	for _, c := range []struct {
		command []string
		want    string
	}{
		{[]string{"curl", "-sS", "-m", "20", "-x", "http://" + p.addr, good}, "a.example:" + port},
		{[]string{"curl", "-sS", "-m", "20", "-p", "-x", "http://" + p.addr, good}, "a.example:" + port},
		{[]string{"curl", "-sS", "-m", "20", "-0", "-x", "http://" + p.addr, good}, "a.example:" + port},
		{[]string{"curl", "-sv", "-m", "20", "-x", "http://" + p.addr, bad}, "502 missing.example does not exist (DNS_NXDOMAIN)"},
		{[]string{"curl", "-sS", "-m", "20", "http://" + p.addr + "/"}, "this is a proxy"},
		{[]string{"wget", "-qO-", "-T", "20", "-t", "1", "-e", "http_proxy=" + p.addr, good}, "a.example:" + port},
		{[]string{"python3", "-c", python, "http://" + p.addr, good}, "a.example:" + port},
		{[]string{"python3", "-c", python, "http://" + p.addr, bad}, "502 missing.example does not exist (DNS_NXDOMAIN)"},
	} {
		path, err := exec.LookPath(c.command[0])
		if err != nil {
			t.Logf("%s is not installed", c.command[0])
			continue
		}
		cmd := exec.CommandContext(t.Context(), path, c.command[1:]...)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
		out, _ := cmd.CombinedOutput() // a refusal is an error of the client's
		if !strings.Contains(string(out), c.want) {
			t.Errorf("%v prints\n%s", c.command, out)
		}
	}
}

// FuzzAbsolute holds that a target is refused or has one host, which is the one that is named.
func FuzzAbsolute(f *testing.F) {
	for _, s := range []string{
		"http://example.com/", "http://EXAMPLE.com.:80/a?b", "http://[::1]:8080", "http://a@b/", "http://a#@b/", "http://a?@b/",
		"http://a\\@b/", "http://a:80:90/", "http:///", "http://%61.example/", "https://a/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		q, err := parseGET(target)
		if err != nil {
			return
		}
		to, origin, refusal := absolute(q)
		if refusal != nil {
			return
		}
		if !to.IsValid() || origin == "" || origin[0] != '/' || !strings.HasSuffix(target, strings.TrimPrefix(origin, "/")) {
			t.Fatalf("%q: %v %q", target, to, origin)
		}
		again, err := parseGET("http://" + hostField(to) + origin)
		if err != nil {
			t.Fatal(err)
		}
		if other, path, refusal := absolute(again); refusal != nil || other != to || path != origin {
			t.Fatalf("%q: %v %q, and then %v %q", target, to, origin, other, path)
		}
	})
}

func parseGET(target string) (*httphead.Request, error) {
	return httphead.Parse("GET " + target + " HTTP/1.0\r\n\r\n")
}
