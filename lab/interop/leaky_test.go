package interop

import (
	"fmt"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// leakyClient is a client that, told to use this scheme, resolves names itself before it asks the proxy.
type leakyClient struct {
	lab.Client
	scheme, door string
}

func leakyClients() []leakyClient {
	return []leakyClient{
		{lab.Curl, "socks5", "socks5"},
		{lab.Curl, "socks4", "socks4"},
		{lab.Git, "socks5", "socks5"},
		{requests, "socks5", "socks5"},
	}
}

// play lets a client call by a scheme of its own leaking, and gives what was seen. Whatever leaked was the
// client's own doing: our resolver never heard the name, and nothing in the proxy reached for the host's.
func (c leakyClient) play(t *testing.T, policy string, after func(t testing.TB, s *lab.Scene)) (*lab.Scene, *lab.Evidence) {
	t.Helper()
	c.Require(t)
	s := lab.NewScene(t, internet.Dual)
	lab.StartWatertight(t, s, lab.DirectConfig(s, s.Resolver.DoTURL())+policy)
	call := lab.Call{URL: "https://" + s.Canary + "/", Proxy: c.scheme + "://" + lab.ProxyAddress, CAFile: s.CAFile}
	result := lab.Run(t, c.Program(s.Client, call))
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	untrapped(t, s)
	after(t, s)
	e := s.Gather(t, result)
	if len(askers(e.ISP, s.Canary)) == 0 {
		t.Errorf("%s did not resolve by itself: it is no leaky client any more", c.Name)
	}
	for _, q := range s.Resolver.Log() {
		if q.Name == s.Canary {
			t.Error("our resolver was asked for the name too")
		}
	}
	if len(s.Leaks(e)) == 0 {
		t.Error("the client's leak went unseen")
	}
	return s, e
}

func TestLeakyClients_AreReported(t *testing.T) {
	for _, c := range leakyClients() {
		t.Run(c.Name+"/"+c.scheme, func(t *testing.T) {
			_, e := c.play(t, "", func(t testing.TB, s *lab.Scene) {
				metric := fmt.Sprintf("watertight_client_resolved_requests_total{door=%q} ", c.door)
				page := lab.Admin(t, s, "/metrics")
				if !strings.Contains(page, metric) || strings.Contains(page, metric+"0\n") {
					t.Error("the request was not counted as resolved by the client")
				}
			})
			if !e.Delivered {
				t.Errorf("the call did not arrive:\n%s", e.Client.Text())
			}
		})
	}
}

func TestLeakyClients_AreRefusedWhereThePolicySaysSo(t *testing.T) {
	for _, c := range leakyClients() {
		t.Run(c.Name+"/"+c.scheme, func(t *testing.T) {
			s, e := c.play(t, "policy: {client_resolved: refuse}\n", func(t testing.TB, s *lab.Scene) {
				wantMetric(t, s, fmt.Sprintf(`watertight_requests_total{code="POLICY_CLIENT_RESOLVED",door=%q} 1`, c.door))
				wantMetric(t, s, fmt.Sprintf(`watertight_client_resolved_requests_total{door=%q} 1`, c.door))
			})
			if e.Delivered || e.Client.Code == 0 {
				t.Error("the call arrived")
			}
			for _, p := range e.Packets {
				if s.Origin.Has(p.To.Addr()) {
					t.Errorf("the proxy went to the origin: %v", p)
				}
			}
			if c.Name == lab.Curl.Name && c.scheme == "socks5" && !strings.Contains(e.Client.Text(), "(2)") { // RFC 1928: not allowed by ruleset
				t.Errorf("curl was not told that a rule forbids it:\n%s", e.Client.Text())
			}
		})
	}
}

// The one that HTTP knows: an address in the place of a name.
func TestLeakyClients_AreToldTheCodeOverHTTP(t *testing.T) {
	lab.Curl.Require(t)
	s := lab.NewScene(t, internet.Dual)
	lab.StartWatertight(t, s, lab.DirectConfig(s, s.Resolver.DoTURL())+"policy: {client_resolved: refuse}\n")
	r := lab.Run(t, lab.Curl.Program(s.Client, lab.Call{URL: "https://" + text(s.Origin.Addr()) + "/", Proxy: "http://" + lab.ProxyAddress, CAFile: s.CAFile}))
	if r.Code == 0 || !strings.Contains(r.Text(), "(POLICY_CLIENT_RESOLVED)") {
		t.Errorf("curl was not told the code (exit code %d):\n%s", r.Code, r.Text())
	}
	wantMetric(t, s, `watertight_client_resolved_requests_total{door="http-connect"} 1`)
	for _, leak := range s.Leaks(s.Gather(t, r)) {
		t.Error("LEAK:", leak)
	}
}
