package cells

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

// gone takes the resolver away: nothing listens where it was.
func gone(t testing.TB, s *lab.Scene) {
	t.Helper()
	lab.Must(0, s.Resolver.Close())(t)
}

// listen opens a port that was in use a moment ago: a process that is just being started may hold it still.
func listen(t testing.TB, h *internet.Host, port uint16) (l net.Listener) {
	t.Helper()
	await(t, fmt.Sprintf("port %d of %s to be free", port, h.Name), func() bool {
		var err error
		l, err = h.Listen(port)
		return err == nil
	})
	return l
}

// swap puts another resolver in the place of the scene's.
func swap(t testing.TB, s *lab.Scene, cert tls.Certificate, tweak ...func(*tls.Config)) {
	t.Helper()
	gone(t, s)
	var r *internet.Resolver
	await(t, "the ports of "+s.Resolver.Host.Name+" to be free", func() bool {
		var err error
		r, err = s.ResolverOn(s.Resolver.Host, s.Resolver.Name, cert, tweak...)
		return err == nil
	})
	s.Resolver = r
}

// blackholed lets the provider swallow every packet that is for somebody else. Plaintext DNS it still answers.
func blackholed(t testing.TB, s *lab.Scene) {
	t.Helper()
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		err := s.ISP.Do(func() error { return os.WriteFile("/proc/sys/net/"+key, []byte("0"), 0o644) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// halfOpen lets the resolver's host take connections and never say anything.
func halfOpen(t testing.TB, s *lab.Scene) {
	t.Helper()
	gone(t, s)
	hosts := []*internet.Host{s.Resolver.Host}
	if s.Resolver.Relays != nil {
		hosts = append(hosts, s.Resolver.Relays.Host)
	}
	for _, h := range hosts {
		for _, port := range []uint16{443, 853, 8443} {
			listen(t, h, port) // the kernel accepts
			lab.Must(h.ListenUDP(port))(t)
		}
	}
}

// certified is a fault of the resolver's certificate.
func certified(issue func(s *lab.Scene) tls.Certificate) func(testing.TB, *lab.Scene) {
	return func(t testing.TB, s *lab.Scene) {
		t.Helper()
		swap(t, s, issue(s))
	}
}

// answering is a fault of what the resolver answers.
func answering(h dnstest.Handler) func(testing.TB, *lab.Scene) {
	return func(_ testing.TB, s *lab.Scene) { s.Resolver.Handle(h) }
}

// wrong lets the resolver do its work and spoil the result.
func wrong(h func(dnstest.Handler) dnstest.Handler) func(testing.TB, *lab.Scene) {
	return func(_ testing.TB, s *lab.Scene) { s.Resolver.Handle(h(s.Resolver.Recurse)) }
}

// resolverFaults are what can be wrong with a resolver, and what a client is told.
var resolverFaults = []struct {
	id    string
	bring func(testing.TB, *lab.Scene)
	code  string // where it comes after readiness
	// early is what else the client is told, besides NOT_READY, where the fault is there from the start. Empty: the
	// proxy becomes ready all the same, as the resolver gives well-formed answers, and the code is the one above.
	early string
	only  string // the one transport that can have the fault, notODoH, or "tls": all that have connections; empty: all
}{
	{"refused", gone, "RESOLVER_UNREACHABLE", "refused the connection", ""},
	{"blackholed", blackholed, "DNS_TIMEOUT", "did not answer in time", ""},
	{"half-open", halfOpen, "DNS_TIMEOUT", "did not answer in time", ""},
	{"silent", answering(dnstest.Silent), "DNS_TIMEOUT", "did not answer in time", ""},
	{"hanging up", answering(dnstest.Hangup), "RESOLVER_UNREACHABLE", "closed the connection", "tls"},
	{"an expired certificate", certified(func(s *lab.Scene) tls.Certificate {
		return s.CA.IssueLeaf(dnstest.Leaf{IPs: s.Resolver.Certified(), NotAfter: time.Now().Add(-time.Hour)})
	}), "RESOLVER_UNTRUSTED", "expired", "tls"},
	{"a certificate for another name", certified(func(s *lab.Scene) tls.Certificate {
		return s.CA.Issue([]string{"other.example.net"}, s.Origin.Addrs())
	}), "RESOLVER_UNTRUSTED", "does not cover", "tls"},
	{"an unknown authority", certified(func(s *lab.Scene) tls.Certificate {
		return dnstest.NewCA().Issue([]string{s.Resolver.Name}, s.Resolver.Certified())
	}), "RESOLVER_UNTRUSTED", "unknown authority", "tls"},
	{"HTTP 500", answering(dnstest.Status(500, "text/plain", "out of order")), "RESOLVER_UNREACHABLE", "HTTP 500", "doh"},
	{"a redirect", answering(dnstest.Redirect("https://dns.example.org/dns-query")), "RESOLVER_UNREACHABLE", "redirects", "doh"},
	{"a captive page", answering(dnstest.Captive), "RESOLVER_UNREACHABLE", "instead of a DNS message", "doh"},
	{"SERVFAIL", answering(dnstest.RCode(2)), "DNS_SERVFAIL", "", ""},
	{"REFUSED", answering(dnstest.RCode(5)), "DNS_SERVFAIL", "", ""},
	{"malformed", answering(dnstest.Malformed), "DNS_SERVFAIL", "malformed", ""},
	{"oversize", answering(dnstest.Oversize), "DNS_SERVFAIL", "sent a", notODoH},
	{"a wrong ID", wrong(dnstest.WrongID), "DNS_SERVFAIL", "ID", ""},
	{"a wrong question", answering(dnstest.WrongQuestion), "DNS_SERVFAIL", "question", ""},
	{"truncated", wrong(dnstest.Truncated), "DNS_SERVFAIL", "truncated", ""},
}

// notODoH is for a fault that no target can have: its encryption ends before that.
const notODoH = "all but odoh"

// canHave says whether a fault is one of this transport.
func (via transport) canHave(only string) bool {
	return only == "" || only == via.name || only == "tls" && via.tls || only == notODoH && via.name != "odoh"
}

func TestFaults_OfAResolverThatWasReady(t *testing.T) {
	for _, f := range resolverFaults {
		for _, via := range transports {
			if !via.canHave(f.only) {
				continue
			}
			families := []internet.Families{internet.Dual}
			if f.code != "DNS_TIMEOUT" { // those that take no time
				families = via.families()
			}
			for _, family := range families {
				t.Run(f.id+"/"+via.name+"/"+string(family), func(t *testing.T) {
					t.Parallel()
					run(t, lab.Cell{Families: family, Start: with(via.config), Before: f.bring, Refused: "(" + f.code + ")"})
				})
			}
		}
	}
}

func TestFaults_OfAResolverFromTheStart(t *testing.T) {
	for _, f := range resolverFaults {
		for _, via := range transports {
			if !via.canHave(f.only) || f.early != "" && (via.one || f.only != "doh" && via.name == "doh") {
				continue // one transport is enough to wait for
			}
			t.Run(f.id+"/"+via.name, func(t *testing.T) {
				t.Parallel()
				var proxy running
				c := lab.Cell{Start: proxy.unready(via.config), Arrange: f.bring, Refused: "(NOT_READY)"}
				if f.early == "" {
					c.Start, c.Refused = proxy.with(via.config), "("+f.code+")"
				}
				e := run(t, c)
				if !strings.Contains(e.Client.Text(), f.early) {
					t.Errorf("the client was not told %q: %s", f.early, e.Client.Text())
				}
				if f.early != "" && strings.Contains(proxy.Sofar().Text(), "ready:") {
					t.Error("the proxy said that it is ready")
				}
			})
		}
	}
}

func TestFaults_OfTimesToLive(t *testing.T) {
	for _, c := range []struct {
		id, ttl string
		kept    bool
	}{{"F2/a TTL of 0", "0", false}, {"F2/a TTL of 2^31-1", "2147483647", true}, {"F2/an ordinary TTL", "60", true}} {
		play(t, c.id, lab.Cell{
			Start: with(dot),
			Arrange: func(t testing.TB, s *lab.Scene) {
				for _, a := range s.Origin.Addrs() {
					kind := " A "
					if a.Is6() {
						kind = " AAAA "
					}
					if err := s.Authority.Add(s.Canary + ". " + c.ttl + kind + a.String()); err != nil {
						t.Fatal(err)
					}
				}
			},
			After: func(t testing.TB, s *lab.Scene) {
				before := asked(s.Resolver, s.Canary)
				served(t, s, s.Canary)
				if after := asked(s.Resolver, s.Canary); (after == before) != c.kept {
					t.Errorf("the resolver was asked %d times for the first call, and then %d times more", before, after-before)
				}
			},
		})
	}
}
