package cells

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/proxytest"
	"watertight/name"
)

// askedByMembers fails the test unless the channel's resolver was asked, and by members alone.
func (p *pool) askedByMembers(t testing.TB) {
	t.Helper()
	log := p.resolver.Log()
	if len(log) == 0 {
		t.Error("the channel's resolver was never asked")
	}
	for _, q := range log {
		at, err := netip.ParseAddrPort(q.Client.String())
		if err != nil || !slices.ContainsFunc(p.hops, func(h *hop) bool { return h.Has(at.Addr().Unmap()) }) {
			t.Errorf("the channel's resolver was asked by %v", q.Client)
		}
	}
}

func TestDatagrams_GoThroughMembersOfAPoolOrNowhere(t *testing.T) {
	for _, via := range inDatagrams() {
		p := &pool{kind: kinds[0], via: &via}
		cell := p.cell("here")
		cell.After = func(t testing.TB, _ *lab.Scene) { p.askedByMembers(t) }
		play(t, "D2/"+via.name+"/a pool of socks5", cell)

		half := &pool{kind: kinds[0], via: &via}
		cell = half.cell("here")
		arrange := cell.Arrange
		cell.Arrange = func(t testing.TB, s *lab.Scene) {
			arrange(t, s)
			half.hops[0].streams.Store(true)
		}
		cell.After = func(t testing.TB, s *lab.Scene) {
			half.askedByMembers(t)
			for _, q := range half.resolver.Log() {
				if at, err := netip.ParseAddrPort(q.Client.String()); err == nil && half.hops[0].Has(at.Addr().Unmap()) {
					t.Error("a question came by the member that carries no datagrams")
				}
			}
		}
		play(t, "D2/"+via.name+"/one member refuses datagrams", cell)

		dead := &pool{kind: kinds[0], via: &via}
		cell = dead.cell("here")
		cell.Refused = "(HOP_REFUSED)"
		cell.Before = func(t testing.TB, s *lab.Scene) {
			served(t, s, other(s, "before"))
			lab.Settle(t, s)
			for _, h := range dead.hops {
				h.close(t)
			}
		}
		play(t, "D2/"+via.name+"/every member dead", cell)

		quic := &h3Pool{via: via}
		cell = lab.Cell{Arrange: quic.arrange, Start: with(quic.config), After: func(t testing.TB, _ *lab.Scene) { quic.askedByMembers(t) }}
		play(t, "D2/"+via.name+"/a pool of h3", cell)

		mixed := "https://192.0.2.7:443"
		play(t, "B4/"+via.name+" through a pool of which one carries connections", stillborn(func(s *lab.Scene) string {
			return dot(s) + "  far: {proxy: {pool: [\"socks5://192.0.2.6:1080\", \"" + mixed + "\", \"h3://192.0.2.8\"]}, resolver: " + resolver(s, via.written(s, "")) + "}\nroutes:\n  - {to: \"*\", channel: far}\n"
		}, "datagrams", mixed))
	}
	t.Run("B6/h3/one member dead", func(t *testing.T) {
		p := &h3Pool{via: named("dot")}
		run(t, lab.Cell{Arrange: p.arrange, Start: with(p.config), Before: func(testing.TB, *lab.Scene) { p.proxies[0].Close() }, After: func(t testing.TB, s *lab.Scene) {
			for i := range 3 {
				served(t, s, other(s, fmt.Sprint("more", i)))
			}
			p.askedByMembers(t)
		}})
	})
	t.Run("B6/h3/every member dead", func(t *testing.T) {
		p := &h3Pool{via: named("dot")}
		run(t, lab.Cell{Arrange: p.arrange, Start: with(p.config), Refused: "(HOP_REFUSED)", Before: func(t testing.TB, s *lab.Scene) {
			served(t, s, other(s, "before"))
			lab.Settle(t, s)
			p.proxies[0].Close()
			p.proxies[1].Close()
		}})
	})
}

// h3Pool is a configuration whose traffic goes to the channel `far` through a pool of two HTTP/3 proxies that have names.
type h3Pool struct {
	via transport // by which the resolver of `far` is asked

	pool    // its hops speak nothing: the proxies stand on their hosts
	proxies []*proxytest.H3Proxy
}

func (p *h3Pool) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	p.resolver = lab.Must(s.AddResolver("dns2.example.net"))(t)
	s.Permitted, s.Readers, s.Asking = s.Resolver.Peers(), nil, []*internet.Host{p.resolver.Host}
	for i := range 2 {
		h := &hop{Host: lab.Must(s.AddHost(fmt.Sprintf("member%d", i)))(t)}
		lab.Must(0, s.Authority.Publish(p.host(s, i), h.Host))(t)
		reach := func(dial func(context.Context, netip.AddrPort) (net.Conn, error)) proxytest.Dial {
			return func(target name.Target) (net.Conn, error) {
				at, ok := target.AddrPort()
				if !ok {
					return nil, fmt.Errorf("the proxy was given the name %v", target.Host())
				}
				return dial(context.Background(), at)
			}
		}
		proxy := proxytest.ServeH3(lab.Must(h.ListenUDP(portH3))(t), s.CA.Issue([]string{p.host(s, i)}, nil), proxytest.H3Options{Connect: reach(h.Dial), Packets: reach(h.DialUDP)})
		t.Cleanup(func() { proxy.Close() })
		p.hops, p.proxies = append(p.hops, h), append(p.proxies, proxy)
		s.Permitted = append(s.Permitted, h.Peers(capture.UDP, portH3)...)
	}
}

func (p *h3Pool) config(s *lab.Scene) string {
	there := *s
	there.Resolver = p.resolver
	return direct(s, s.Resolver.DoTURL()) + fmt.Sprintf("  far: {over: direct, proxy: {pool: [\"h3://%s\", \"h3://%s\"], ca: %q}, resolver: %s}\nroutes:\n  - {to: \"*\", channel: far}\n",
		p.host(s, 0), p.host(s, 1), s.CAFile, resolver(s, p.via.written(&there, "")))
}

// Members of a pool prove who they are by a pin, and are shown a certificate, or are asked for nothing.
func TestPools_ProveWhoTheyAreAndAreShownWhoWeAre(t *testing.T) {
	ours := dnstest.NewCA()
	shows := func(t testing.TB) string {
		dir := t.TempDir()
		chain, key := dnstest.PEMPair(ours.IssueLeaf(dnstest.Leaf{Client: true, User: "proxy"}))
		for file, text := range map[string][]byte{"cert.pem": chain, "key.pem": key} {
			lab.Must(0, os.WriteFile(filepath.Join(dir, file), text, 0o600))(t)
		}
		return fmt.Sprintf(", cert: %q, key: %q", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	}
	for _, k := range secureKinds {
		for _, c := range []struct {
			what, refused string
			says          func(testing.TB, *lab.Scene) string
			welcomed      bool
		}{
			{"a pin and a certificate", "", func(t testing.TB, s *lab.Scene) string {
				return fmt.Sprintf(", pins: [%q]", s.CA.Pin()) + shows(t)
			}, true},
			{"another pin", "(HOP_REFUSED)", func(t testing.TB, _ *lab.Scene) string {
				return fmt.Sprintf(", pins: [%q]", ours.Pin()) + shows(t)
			}, false},
			{"no certificate", "asks for a certificate", func(testing.TB, *lab.Scene) string { return "" }, false},
		} {
			if !c.welcomed && k.name != "https" {
				continue // it is one TLS
			}
			p := &pool{kind: k, says: c.says}
			cell := p.cell("exit")
			arrange := cell.Arrange
			cell.Arrange = func(t testing.TB, s *lab.Scene) {
				arrange(t, s)
				for _, h := range p.hops {
					h.clients = ours.Pool()
				}
			}
			cell.Refused = c.refused
			cell.After = func(t testing.TB, _ *lab.Scene) {
				asked := strings.Join(append(p.hops[0].log(), p.hops[1].log()...), " ")
				if (asked != "") != c.welcomed {
					t.Errorf("members were asked for %q", asked)
				}
			}
			play(t, "A8/a pool/"+c.what+"/"+k.name, cell)
		}
	}
}
