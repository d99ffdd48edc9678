package cells

import (
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/socks"
)

func TestE_SideTrafficOfTheProgramItself(t *testing.T) {
	play(t, "E1/nothing but the resolver is spoken to", lab.Cell{Start: with(doh), Before: func(t testing.TB, s *lab.Scene) {
		if status, _ := admin(t, s, "/metrics"); status != "200" {
			t.Error("/metrics says", status)
		}
		for _, p := range lab.Must(s.Packets())(t) {
			for _, peer := range s.Origin.Peers() {
				if peer.Between(p) {
					t.Errorf("before any request: %v", p)
				}
			}
		}
		nobodyAsked(t, s)
	}})

	for _, via := range transports {
		for _, families := range via.families() {
			var proxy running
			play(t, "E2/"+via.name+"/"+string(families), lab.Cell{
				Families: families,
				Start: func(t testing.TB, s *lab.Scene) string {
					elsewhere := other(s, "proxy")
					lab.Must(0, s.Authority.Publish(elsewhere, s.Origin.Host))(t)
					program := lab.Self(s.Client, lab.WatertightRole, "run", "-c", write(t, s, via.config(s)))
					for _, v := range []string{"http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
						program.Env = append(program.Env, v+"=http://"+elsewhere+":3128")
					}
					program.Env = append(program.Env, "NO_PROXY=", "no_proxy=")
					proxy.Process = lab.Must(program.Start(t.Context()))(t)
					lab.Must(proxy.AwaitOutput(t.Context(), "ready:"))(t)
					return lab.ProxyAddress
				},
				After: func(t testing.TB, s *lab.Scene) {
					if text := proxy.Sofar().Text(); !strings.Contains(text, "HTTPS_PROXY") || !strings.Contains(text, "not obeyed") {
						t.Errorf("it did not say that it ignores the variables: %s", text)
					}
					neverAsked("proxy")(t, s)
				},
			})
		}
	}

	for _, format := range []string{"text", "json"} {
		var proxy running
		var told string
		e := lab.Cell{
			Start: proxy.with(func(s *lab.Scene) string { return doh(s) + "log: {format: " + format + "}\n" }),
			After: func(t testing.TB, s *lab.Scene) {
				served(t, s, other(s, "second"))
				refused(t, s, "missing-"+s.Label+".example.net", "DNS_NXDOMAIN")
				refused(t, s, s.Label+".local", "DNS_NXDOMAIN")
				socksRequest(t, s, socks.Resolve, s.Canary)
				answering(dnstest.RCode(2))(t, s)
				refused(t, s, other(s, "failed"), "DNS_SERVFAIL")
				gone(t, s)
				refused(t, s, other(s, "unreached"), "RESOLVER_UNREACHABLE")
				for _, path := range []string{"/metrics", "/status", "/healthz", "/readyz"} {
					_, text := admin(t, s, path)
					told += text
				}
			},
		}
		play(t, "E4/"+format, withSilence(e, &proxy, &told))
	}
}

// withSilence adds to a cell that neither the program's output nor what it tells of itself has the canary in it.
func withSilence(c lab.Cell, proxy *running, told *string) lab.Cell {
	after := c.After
	c.After = func(t testing.TB, s *lab.Scene) {
		after(t, s)
		s.StopPrograms() // it writes until it ends
		output := proxy.Sofar().Text()
		for what, text := range map[string]string{"the log": output, "what it tells of itself": *told} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(s.Label)) {
				t.Errorf("a name stands in %s: %s", what, text)
			}
		}
		if !strings.Contains(output, "DNS_SERVFAIL") || !strings.Contains(*told, "watertight_") {
			t.Errorf("there is no log or no metrics to look at: %s\n%s", output, *told)
		}
	}
	return c
}
