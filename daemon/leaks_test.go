package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/config"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/lab/memory"
)

// The rows of docs/leaks.md that no other test of this package is about. A sub-test is named by its row.

// refused wants a configuration not to load, and to say why.
func (w *world) refused(text string, parts ...string) {
	w.t.Helper()
	_, err := config.Parse("test.yaml", []byte(text), config.ThisHost())
	if err == nil {
		w.t.Errorf("it loads:\n%s", text)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			w.t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func TestTheResolversAndTheProxysOwnNames(t *testing.T) {
	t.Run("A1 a resolver with a name and no address does not start", func(t *testing.T) {
		inWorld(t, straight, doh, func(w *world) {
			w.refused("channels: {direct: {resolver: {upstreams: [\"https://dns.provider.net/dns-query\"]}}}", "test.yaml:1:", "dns.provider.net", "addresses")
			w.refused("channels:\n  exit: {proxy: \"socks5://192.0.2.1:1080\", resolve: exit}\n  out: {over: exit, resolver: {upstreams: [\"tls://dns.provider.net\"]}}\nroutes: [{to: \"*\", channel: out}]", "test.yaml:3:", "nobody could look up", "addresses")
		})
	})
	for _, v := range ways[1:] {
		t.Run("A5 the proxy's own name is resolved in the channel underneath, "+string(v), func(t *testing.T) {
			inWorld(t, v, dot, func(w *world) {
				w.ready(w.text())
				w.reaches(target, "origin")
				asked := 0
				for _, q := range w.below.Log() {
					if strings.Contains(q.Name, hopLabel) {
						asked++
					}
				}
				if asked == 0 {
					w.t.Error("nobody asked for the proxy's name: the test proves nothing")
				}
			})
		})
		t.Run("A5 a proxy whose name does not resolve is a fault, "+string(v), func(t *testing.T) {
			inWorld(t, v, dot, func(w *world) {
				w.below.Fail(always(dnstest.RCode(dnswire.NXDomain)))
				w.nameAtExit()
				w.ready(w.exit())
				w.fails(target, fault.HopRefused, hopLabel)
			})
		})
	}
	t.Run("A7 a name in a reply stays text", func(t *testing.T) {
		inWorld(t, bySOCKS, doh, func(w *world) { // the proxy says that it is bound to a name
			w.ready(w.text())
			w.reaches(target, "origin")
		})
		inWorld(t, straight, doh, func(w *world) { // and the resolver sends us elsewhere
			w.ready(w.text())
			w.own.Fail(always(dnstest.Redirect("https://" + memory.BoundName + "/dns-query")))
			w.fails(target, fault.ResolverUnreachable, "never followed")
		})
	})
	for _, k := range transports {
		t.Run("A8 a pin is checked on every connection, "+string(k), func(t *testing.T) {
			inWorld(t, straight, k, func(w *world) {
				good := w.upstream(belowName, belowAddr, authority.CA.Pin())
				w.ready(strings.Replace(w.text(), w.upstream(belowName, belowAddr), good, 1))
				for range 3 { // the second connection may resume the session of the first
					w.own.Drop()
					time.Sleep(later)
					w.reaches(target, "origin")
				}
				w.run(w.mispinned())
				w.own.Drop()
				w.fails(target, fault.NotReady, "pinned")
			})
		})
	}
}

func TestNothingFailsOpen(t *testing.T) {
	for _, c := range []struct {
		name  string
		host  string
		fault memory.Fault
		code  fault.Code
	}{
		{"NXDOMAIN", "none." + canary + ".example.com", memory.Fault{Warm: true}, fault.DNSNXDomain},
		{"NODATA", "text." + canary + ".example.com", memory.Fault{Warm: true}, fault.DNSNoData},
		{"SERVFAIL", hostName, always(dnstest.RCode(dnswire.ServFail)), fault.DNSServFail},
		{"time-out", hostName, always(dnstest.Silent), fault.DNSTimeout},
	} {
		t.Run("B1 "+c.name+" is final", func(t *testing.T) {
			inWorld(t, byChain, dot, func(w *world) {
				w.ready(w.text())
				w.own.Fail(c.fault)
				w.fails(c.host+":443", c.code, "")
			})
		})
	}
	t.Run("B2 an unknown channel is an error with its place and the nearest name", func(t *testing.T) {
		inWorld(t, bySOCKS, dot, func(w *world) {
			w.extra = "routes: [{to: \"*\", channel: owt}]\n"
			w.refused(w.text(), "test.yaml:6:29:", "owt", "`out`")
			w.extra = ""
			w.refused(strings.Replace(w.text(), "  out:\n", "  out:\n    over: dircet\n", 1), "dircet", "direct")
			c := w.parse(w.text())
			c.Routes[0].Channel = "owt" // past the check of the configuration
			if _, err := build(c, w.shared(), nil); err == nil || !strings.Contains(err.Error(), "owt") {
				w.t.Errorf("it was built: %v", err)
			}
		})
	})
	t.Run("B3 what no route matches is refused", func(t *testing.T) {
		inWorld(t, bySOCKS, dot, func(w *world) {
			w.extra = "routes: [{to: \"*.example.com\", channel: out}, {to: \"203.0.114.0/24\", channel: out}]\n"
			w.ready(w.text())
			w.reaches(target, "origin")
			quiet := w.Quiet()
			for _, to := range []string{"www." + canary + ".org:443", "example.com:443", originAt.String(), origin6At.String()} {
				w.fails(to, fault.PolicyRoute, "no route")
			}
			if since := quiet(); len(since) > 0 {
				w.t.Errorf("refused, and yet %q", since)
			}
		})
	})
	t.Run("B5 clear forms are refused when they are read", func(t *testing.T) {
		inWorld(t, straight, dot, func(w *world) {
			for _, u := range []string{"udp://9.9.9.9", "tcp://9.9.9.9:53", "9.9.9.9", "9.9.9.9:53", "http://9.9.9.9/dns-query", "dns.example.net"} {
				w.refused("channels: {direct: {resolver: {upstreams: [\""+u+"\"]}}}", "test.yaml:1:")
			}
			w.refused("policy: {plain_dns: allow}", "plain_dns")
		})
	})
	t.Run("B6 all upstreams dead is a refusal that says which and why", func(t *testing.T) {
		inWorld(t, straight, dot, func(w *world) {
			second := w.Resolver("second", ownAddr)
			w.allowed.Dials[memory.Program] = append(w.allowed.Dials[memory.Program], netip.AddrPortFrom(ownAddr, 853))
			w.allowed.Secrets[canary] = []string{"below"}
			both := w.upstream(belowName, belowAddr)
			w.ready(strings.Replace(w.text(), both, both+", "+w.upstream(ownName, ownAddr), 1))
			w.reaches(target, "origin") // F5: the second upstream does not see the name
			second.Fail(memory.Fault{TLS: memory.UnknownCA})
			w.own.Fail(memory.Fault{Gone: true})
			w.fails("four."+canary+".example.com:443", fault.ResolverUntrusted, ownName)
		})
	})
	for host, code := range map[string]fault.Code{
		"printer.local": fault.DNSNXDomain, "nas.lan": fault.DNSNXDomain, "wpad": fault.DNSNXDomain, "host.internal": fault.DNSNXDomain,
		"x.onion": fault.DNSNXDomain, "x.test": fault.DNSNXDomain, "x.alt": fault.DNSNXDomain, "x.invalid": fault.DNSNXDomain,
		"router.home.arpa": fault.DNSNXDomain, "1.0.0.10.in-addr.arpa": fault.DNSNXDomain, "use-application-dns.net": fault.DNSNXDomain,
		"_dns.resolver.arpa": fault.DNSNoData, "localhost": fault.PolicyPrivateTarget, "db.localhost": fault.PolicyPrivateTarget,
		"ipv4only.arpa": fault.PolicyPrivateTarget,
	} {
		t.Run("B7 "+host+" is answered here", func(t *testing.T) {
			inWorld(t, bySOCKS, doh, func(w *world) {
				w.ready(w.text())
				quiet, asked := w.Quiet(), len(w.own.Log())
				w.fails(host+":443", code, "")
				if since := quiet(); len(since) > 0 || len(w.own.Log()) != asked {
					w.t.Errorf("it was asked for: %q", since)
				}
			})
		})
	}
}

func TestWindowsInTime(t *testing.T) {
	t.Run("C1 before the resolver has answered nothing is asked and nothing dialled", func(t *testing.T) {
		inWorld(t, straight, doh, func(w *world) {
			w.own.Fail(memory.Fault{Mute: true})
			w.run(w.text())
			begun := time.Now()
			w.fails(target, fault.NotReady, "")
			if took := time.Since(begun); took == 0 || took > 10*time.Second {
				w.t.Errorf("the request waited %v", took)
			}
			if w.Dials(originAt) > 0 {
				w.t.Error("the origin was dialled")
			}
		})
	})
	t.Run("C1 a request that comes early waits, and goes through", func(t *testing.T) {
		inWorld(t, straight, doh, func(w *world) {
			release := make(chan struct{})
			w.own.Fail(answers(func(h dnstest.Handler) dnstest.Handler { return dnstest.Held(h, release) }))
			w.run(w.text())
			time.AfterFunc(2*time.Second, func() { close(release) })
			w.reaches(target, "origin")
		})
	})
	for _, k := range transports {
		t.Run("C4 an idle connection is made anew with the same checks, "+string(k), func(t *testing.T) {
			inWorld(t, bySOCKS, k, func(w *world) {
				w.ready(w.text())
				w.reaches(target, "origin")
				time.Sleep(later)
				w.own.Fail(memory.Fault{TLS: memory.UnknownCA})
				w.fails(target, fault.ResolverUntrusted, "unknown authority")
			})
		})
	}
	t.Run("C5 nothing is asked but for a request", func(t *testing.T) {
		inWorld(t, bySOCKS, doh, func(w *world) {
			w.ready(w.text())
			w.reaches(target, "origin")
			quiet, asked := w.Quiet(), len(w.own.Log())+len(w.below.Log())
			time.Sleep(24 * time.Hour)
			if since := quiet(); len(since) > 0 || len(w.own.Log())+len(w.below.Log()) != asked {
				w.t.Errorf("on its own: %q", since)
			}
		})
	})
	t.Run("C5 a channel that is closed is silent", func(t *testing.T) {
		inWorld(t, bySOCKS, dot, func(w *world) {
			w.own.Fail(memory.Fault{Gone: true})
			w.run(w.text())
			time.Sleep(time.Minute)
			w.g.discard(nil)
			w.g = nil
			quiet := w.Quiet()
			time.Sleep(24 * time.Hour)
			if since := quiet(); len(since) > 0 {
				w.t.Errorf("after its end: %q", since)
			}
		})
	})
}

func TestTheRightNameOnTheRightPath(t *testing.T) {
	for _, v := range ways[1:] {
		t.Run("D4 with `resolve: exit` nobody resolves before, "+string(v), func(t *testing.T) {
			inWorld(t, v, dot, func(w *world) {
				w.nameAtExit()
				w.ready(w.exit())
				w.reaches(target, "origin")
			})
		})
		t.Run("D5 the resolver is reached through the channel's own proxies, "+string(v), func(t *testing.T) {
			inWorld(t, v, dot, func(w *world) {
				w.ready(w.text())
				w.reaches(target, "origin")
				hops := w.hops()
				if at := netip.AddrPortFrom(ownAddr, 853).String(); !slices.Contains(hops[len(hops)-1].Asked(), at) {
					w.t.Errorf("the last proxy was not asked for %s", at)
				}
			})
		})
	}
	t.Run("D6 a rule on addresses looks nothing up", func(t *testing.T) {
		inWorld(t, straight, dot, func(w *world) {
			w.extra = "routes: [{to: [93.184.216.0/24, \"2606:2800::/32\"], channel: refuse}, {to: \"*.example.com\", channel: direct}, {to: [\"*.org\"], channel: refuse}]\n"
			w.ready(w.text())
			asked := len(w.own.Log())
			w.fails(originAt.String(), fault.PolicyRoute, "refuses")
			w.fails("www."+canary+".org:443", fault.PolicyRoute, "refuses")
			w.fails("www."+canary+".net:443", fault.PolicyRoute, "no route")
			if len(w.own.Log()) != asked {
				w.t.Errorf("to choose a route these were asked for: %v", w.own.Log()[asked:])
			}
			w.reaches(target, "origin") // by its name, whatever its address
		})
	})
	t.Run("D8 no suffix is appended and no hosts file read", func(t *testing.T) {
		inWorld(t, straight, dot, func(w *world) {
			w.ready(w.text())
			for _, host := range []string{"none." + canary + ".example.com", "a." + canary + ".dev", canary} {
				w.fails(host+":443", fault.DNSNXDomain, "")
			}
			for _, q := range w.own.Log() {
				if q.Name != "" && q.Name != "_dns."+belowName && // which is the resolver's own record
					q.Name != "none."+canary+".example.com" && q.Name != "a."+canary+".dev" {
					w.t.Errorf("the resolver was asked for %q", q.Name)
				}
			}
		})
	})
	for _, v := range ways {
		for host, word := range map[string]string{"four": "origin", "six": "origin6", "dual": "origin6"} {
			t.Run("D9 "+host+"/"+string(v), func(t *testing.T) {
				inWorld(t, v, dot, func(w *world) {
					w.ready(w.text())
					w.reaches(host+"."+canary+".example.com:443", word)
				})
			})
		}
	}
	t.Run("D9 resolver and proxy by IPv6 alone", func(t *testing.T) {
		inWorld(t, bySOCKS, doh, func(w *world) {
			six := w.Resolver("below6", below6Addr, "gw6."+hopLabel+".provider.net. 60 AAAA "+socks6At.Addr().String())
			w.SOCKS5("hop6", socks6At.String(), "", "")
			w.allowed = memory.Allowed{
				Dials: map[string][]netip.AddrPort{
					memory.Program: {netip.AddrPortFrom(below6Addr, 443), socks6At},
					"hop6":         {netip.AddrPortFrom(ownAddr, 443), origin6At},
				},
				Secrets: map[string][]string{canary: {"own"}, hopLabel: {"below6"}},
			}
			w.ready("channels:\n  direct: {resolver: {upstreams: [" + w.upstream(belowName, below6Addr) + "]}}\n" +
				"  out: {proxy: \"socks5://gw6." + hopLabel + ".provider.net\", resolver: {upstreams: [" + w.upstream(ownName, ownAddr) + "]}}\n" +
				"routes: [{to: \"*\", channel: out}]\n")
			w.reaches("six."+canary+".example.com:443", "origin6")
			if len(six.Log()) == 0 {
				w.t.Error("the resolver at an IPv6 address was never asked")
			}
		})
	})
}
