package transport_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnscrypt"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/stamp"
	"watertight/transport"
	"watertight/upstream"
)

const crypt = upstream.DNSCrypt

// tap is a way out over the rig that remembers where the client dialled and what it sent, and may interfere.
type tap struct {
	mu    sync.Mutex
	dials []string // network and address
	sent  [][]byte // datagrams
	lose  int      // how many datagrams are lost from now on
	junk  []byte   // comes before every datagram that is received
}

func (p *tap) over(g *rig) func(*transport.Options) {
	book := func(network string, to netip.AddrPort) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dials = append(p.dials, network+" "+to.String())
	}
	return func(o *transport.Options) {
		o.Way.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			book("tcp", to)
			return g.Dial(ctx, to)
		}
		o.Way.DialPacket = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			book("udp", to)
			flow, err := g.DialPacket(ctx, to)
			return &tapped{Conn: flow, tap: p}, err
		}
	}
}

// dialled gives where the client dialled since the last call.
func (p *tap) dialled() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := fmt.Sprint(p.dials)
	p.dials = nil
	return s
}

type tapped struct {
	net.Conn
	tap    *tap
	junked bool
}

func (f *tapped) Write(b []byte) (int, error) {
	f.tap.mu.Lock()
	f.tap.sent = append(f.tap.sent, bytes.Clone(b))
	lost := f.tap.lose > 0
	f.tap.lose--
	f.tap.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return f.Conn.Write(b)
}

func (f *tapped) Read(b []byte) (int, error) {
	f.tap.mu.Lock()
	junk := f.tap.junk
	f.tap.mu.Unlock()
	if f.junked = !f.junked; f.junked && junk != nil {
		return copy(b, junk), nil
	}
	return f.Conn.Read(b)
}

func TestAQuestionOverDNSCryptTellsNoMoreThanItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(crypt, first, dnsrig.Zone.Handler())
		var p tap
		c := g.client(t, g.Upstream(crypt, first), p.over(g))
		for _, host := range []string{"one.shop.example", "two.shop.example", "a-name-of-quite-another-length.shop.example"} {
			ask(t, c, host)
		}
		if len(p.sent) != 4 {
			t.Fatalf("%d datagrams were sent, want one for the certificate and three questions", len(p.sent))
		}
		for i, b := range p.sent {
			if bytes.Contains(b, []byte("shop")) {
				t.Errorf("datagram %d shows what is asked for", i)
			}
			if i > 0 && len(b) != dnscrypt.QueryOverhead+dnscrypt.MinMinimum {
				t.Errorf("datagram %d has %d octets", i, len(b))
			}
		}
		ids := map[uint16]bool{}
		for _, q := range s.Log() {
			ids[q.ID] = true
			if q.UDPSize != 1232 || !q.RecursionDesired || q.Subnet != netip.MustParsePrefix("0.0.0.0/0") {
				t.Errorf("query %+v", q.Request)
			}
		}
		if len(ids) == 1 {
			t.Error("the ID is not random")
		}
		if got := p.dialled(); got != "[udp 198.18.0.1:443]" {
			t.Errorf("dialled %s", got)
		}
	})
}

// wide answers with more than a datagram of the first minimum has room for.
var wide = dnstest.Zone{
	"wide.shop.example. 300 TXT \"" + string(bytes.Repeat([]byte("x"), 250)) + "\"",
	"wide.shop.example. 300 A 192.0.2.1", "wide.shop.example. 300 A 192.0.2.2",
	"one.shop.example. 300 A 192.0.2.11",
}

func TestATruncatedAnswerIsAskedForOverTCPAndLaterQuestionsAreLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(crypt, first, wide.Handler())
		var p tap
		c := g.client(t, g.Upstream(crypt, first), p.over(g))
		a, fail := c.Ask(t.Context(), dnswire.Question{Name: "wide.shop.example", Type: dnswire.TXT})
		if fail != nil || len(a.Records) != 1 {
			t.Fatalf("%+v, %v", a, fail)
		}
		if got := p.dialled(); got != "[udp 198.18.0.1:443 tcp 198.18.0.1:443]" {
			t.Errorf("dialled %s", got)
		}
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if n := len(p.sent[len(p.sent)-1]); n != dnscrypt.QueryOverhead+dnscrypt.MinMinimum+64 {
			t.Errorf("the question after a truncated answer has %d octets", n)
		}
		if got := p.dialled(); got != "[]" {
			t.Errorf("dialled %s", got)
		}
	})
}

func TestAWayWithoutDatagramsCarriesDNSCryptOverTCP_AConnectionForEachQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(crypt, first, dnsrig.Zone.Handler())
		var p tap
		c := g.client(t, g.Upstream(crypt, first), p.over(g), func(o *transport.Options) { o.Way.DialPacket = nil })
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
		if got := p.dialled(); got != "[tcp 198.18.0.1:443 tcp 198.18.0.1:443 tcp 198.18.0.1:443]" {
			t.Errorf("dialled %s", got)
		}
		if s.Conns() != 1 {
			t.Errorf("%d keys were used", s.Conns())
		}
		s.Handle(dnstest.Hangup)
		dnsrig.WantFault(t, ask(t, c, "two.shop.example"), fault.ResolverUnreachable, "closed the connection")
	})
}

func TestANetworkThatSwallowsDatagramsGetsDNSCryptOverTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(crypt, first, dnsrig.Zone.Handler())
		p := tap{lose: 1000}
		c := g.client(t, g.Upstream(crypt, first), p.over(g))
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if n := len(p.sent); n > 3 {
			t.Errorf("the certificate was asked for %d times in datagrams", n)
		}
	})
}

func TestALostDatagramIsSentAgainAndAForgedOneIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(crypt, first, dnsrig.Zone.Handler())
		p := tap{lose: 1, junk: []byte("r6fnvWj8 and whatever anybody may send who saw nothing")}
		c := g.client(t, g.Upstream(crypt, first), p.over(g))
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		p.mu.Lock()
		p.lose = 2
		p.mu.Unlock()
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
		if got := p.dialled(); got != "[udp 198.18.0.1:443]" {
			t.Errorf("dialled %s", got)
		}
	})
}

func TestACertificateOfDNSCryptIsFetchedAnewEveryHourAndWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(crypt, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(crypt, first), func(o *transport.Options) { o.IdleTimeout = 24 * time.Hour })
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		time.Sleep(59 * time.Minute)
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if s.Conns() != 1 {
			t.Errorf("%d keys within the hour", s.Conns())
		}
		now := time.Now()
		g.Provider.Renew(dnscrypt.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(11 * time.Minute)})
		time.Sleep(2 * time.Minute)
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
		if s.Conns() != 2 {
			t.Errorf("%d keys after an hour", s.Conns())
		}
		time.Sleep(10 * time.Minute)
		dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.ResolverUntrusted, "expired")
		time.Sleep(time.Minute)
		g.Provider.Renew(dnscrypt.Certificate{NotBefore: now, NotAfter: now.Add(time.Hour), Encryption: dnscrypt.XSalsa20Poly1305})
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if st := c.Stats(time.Now()); s.Conns() != 3 || st.Conns != 1 {
			t.Errorf("%d keys, %d sessions", s.Conns(), st.Conns)
		}
	})
}

func TestAResolverThatForgotItsCertificateIsAskedUnderANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(crypt, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(crypt, first))
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		now := time.Now()
		g.Provider.Renew(dnscrypt.Certificate{NotBefore: now, NotAfter: now.Add(time.Hour)})
		dnsrig.WantFault(t, ask(t, c, "two.shop.example"), fault.DNSTimeout, "in time")
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
	})
}

func TestFlushForgetsTheKeyOfDNSCrypt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(crypt, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(crypt, first))
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
		c.Flush()
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		if log := s.Log(); s.Conns() != 2 || log[1].Conn != 1 || log[2].Conn != 2 {
			t.Errorf("%d keys: %+v", s.Conns(), log)
		}
	})
}

func TestACertificateOfDNSCryptThatCannotBeTrustedIsRESOLVER_UNTRUSTED(t *testing.T) {
	past := time.Date(1996, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		change func(*rig, *upstream.Upstream)
		code   fault.Code
		part   string
	}{
		{"another key", func(_ *rig, u *upstream.Upstream) { u.PublicKey = dnstest.NewProvider().Key() }, fault.ResolverUntrusted, "not signed by the key in the stamp"},
		{"expired", func(g *rig, _ *upstream.Upstream) {
			g.Provider.Renew(dnscrypt.Certificate{NotBefore: past, NotAfter: past.Add(time.Hour)})
		}, fault.ResolverUntrusted, "expired or not valid yet"},
		{"not yet", func(g *rig, _ *upstream.Upstream) {
			g.Provider.Renew(dnscrypt.Certificate{NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)})
		}, fault.ResolverUntrusted, "expired or not valid yet"},
		{"none", func(g *rig, _ *upstream.Upstream) { g.Provider.Withdraw() }, fault.ResolverUnreachable, "has no certificate under"},
		{"another provider", func(_ *rig, u *upstream.Upstream) { u.ServerName = "2.dnscrypt-cert.other.example" }, fault.ResolverUnreachable, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				s := g.Serve(crypt, first, dnsrig.Zone.Handler())
				u := g.Upstream(crypt, first)
				c.change(g, &u)
				dnsrig.WantFault(t, ask(t, g.client(t, u), "one.shop.example"), c.code, c.part)
				if len(s.Log()) != 0 {
					t.Error("a question was sent")
				}
			})
		})
	}
}

// relayed makes an upstream whose resolver is at first and whose relay is at second.
func relayed(t *testing.T, g *rig) upstream.Upstream {
	t.Helper()
	spec := g.Spec(crypt, first)
	spec.Relay = dnsrig.Stamp(t, stamp.Stamp{Kind: stamp.DNSCryptRelay, Addr: netip.AddrPortFrom(second, 8443)})
	return dnsrig.Build(t, spec)
}

func startRelay(t *testing.T, g *rig) *dnstest.CryptRelay {
	t.Helper()
	at := netip.AddrPortFrom(second, 8443)
	r := dnstest.ServeCryptRelay(g.Net.Listen(at), g.Net.ListenPacket(at), g.Net.DialPacketAddr)
	t.Cleanup(func() { r.Close() })
	return r
}

func TestEverythingGoesThroughTheRelayAndNothingToTheResolverItself(t *testing.T) {
	for _, datagrams := range []bool{true, false} {
		t.Run(fmt.Sprint("datagrams ", datagrams), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				s := g.Serve(crypt, first, wide.Handler())
				relay := startRelay(t, g)
				var p tap
				c := g.client(t, relayed(t, g), p.over(g), func(o *transport.Options) {
					if !datagrams {
						o.Way.DialPacket = nil
					}
				})
				wantAddr(t, c, "one.shop.example", "192.0.2.11")
				want := "[udp 198.18.0.2:8443]"
				if !datagrams {
					want = "[tcp 198.18.0.2:8443 tcp 198.18.0.2:8443]"
				}
				if got := p.dialled(); got != want {
					t.Errorf("dialled %s, want %s", got, want)
				}
				a, fail := c.Ask(t.Context(), dnswire.Question{Name: "wide.shop.example", Type: dnswire.TXT})
				if fail != nil || len(a.Records) != 1 {
					t.Errorf("a long answer: %+v, %v", a, fail)
				}
				if got := p.dialled(); got != "[tcp 198.18.0.2:8443]" {
					t.Errorf("dialled %s for a long answer", got)
				}
				if len(s.Log()) < 2 || len(relay.Seen()) < 3 {
					t.Errorf("%d questions, %d packets through the relay", len(s.Log()), len(relay.Seen()))
				}
				for i, b := range relay.Seen() {
					if bytes.Contains(b, []byte("shop")) {
						t.Errorf("the relay reads what is asked for in packet %d", i)
					}
				}
			})
		})
	}
}

func TestADeadRelayFailsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(crypt, first, dnsrig.Zone.Handler())
		var p tap
		u := relayed(t, g)
		c := g.client(t, u, p.over(g))
		dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.ResolverUnreachable, "the resolver 198.18.0.1 behind the relay 198.18.0.2:8443 refused the connection")
		relay := startRelay(t, g)
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		relay.Close()
		for range 3 { // in the session, and in those that would follow
			if err := ask(t, c, "two.shop.example"); err == nil {
				t.Error("there is an answer without the relay")
			}
		}
		for _, d := range p.dials {
			if d != "udp 198.18.0.2:8443" && d != "tcp 198.18.0.2:8443" {
				t.Errorf("something else was dialled: %s", d)
			}
		}
		if n := s.Count("two.shop.example", dnswire.A); n != 0 {
			t.Errorf("the resolver was asked %d times without the relay", n)
		}
	})
}
