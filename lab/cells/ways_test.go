package cells

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/fault"
	wayout "watertight/hop"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/proxytest"
	"watertight/name"
)

// ground is a way out with its far side, in a scene.
type ground interface {
	// arrange connects the far side, and permits the client's host what it needs and no more.
	arrange(t testing.TB, s *lab.Scene)
	// channels are the sections `channels` and `routes` of a configuration.
	channels(s *lab.Scene) string
	// resolves is who is asked for the names of clients; nil: the way's end looks them up.
	resolves(s *lab.Scene) *internet.Resolver
	// die takes the way away.
	die(t testing.TB, s *lab.Scene)
}

// way is a kind of way out.
type way struct {
	name      string
	open      func() ground
	datagrams bool                // it carries them
	sealed    bool                // nobody between the client's host and the first hop reads what it is asked for
	exit      bool                // the names are looked up at its end
	noIPv6    bool                // it can be asked for no IPv6 address
	dead      fault.Code          // what clients are told when it is dead
	nobody    fault.Code          // and where nobody listens at the destination
	families  []internet.Families // besides Dual
}

var byQUIC = kind{name: "h3", scheme: "h3", port: portH3, tls: []string{"h3"}}

// ways are all that there are. Each is tried with every door.
func ways() []way {
	both := []internet.Families{internet.V4, internet.V6}
	chained := func(kinds ...kind) way {
		var names []string
		w := way{datagrams: true, sealed: true, dead: fault.HopRefused, nobody: fault.ConnectRefused}
		for i, k := range kinds {
			names = append(names, k.name)
			w.datagrams = w.datagrams && k.datagrams()
			w.sealed = w.sealed && (k.tls != nil || i > 0)
			w.noIPv6 = w.noIPv6 || k.scheme == namesOnly.scheme
		}
		if last := kinds[len(kinds)-1]; last.scheme == wayout.SchemeH2 {
			w.datagrams = wayout.Proxy{Scheme: wayout.SchemeH2}.CarriesDatagrams() // in its connection: what it stands on carries that
		}
		w.name, w.open, w.families = strings.Join(names, " then "), func() ground { return &chain{kinds: kinds} }, both
		if w.noIPv6 {
			w.families = both[:1]
		}
		if kinds[len(kinds)-1].scheme == namesOnly.scheme {
			w.nobody = fault.ConnectUnreachable // it does not say why
		}
		if len(kinds) > 1 {
			w.families = nil
		}
		return w
	}
	socks5, http, https, secureSOCKS, h2 := kinds[0], kinds[1], secureKinds[0], secureKinds[1], secureKinds[2]
	exit := func(k kind) way {
		w := chained(k)
		w.name, w.exit, w.families, w.open = w.name+" that resolves", true, nil, func() ground { return &chain{kinds: []kind{k}, byName: true} }
		return w
	}
	return []way{
		{
			name: "direct", open: func() ground { return new(noHop) }, datagrams: true, dead: fault.ResolverUnreachable,
			nobody: fault.ConnectRefused, families: both,
		},
		chained(http), chained(https), chained(h2), chained(byQUIC), chained(namesOnly), chained(socks5), chained(secureSOCKS),
		chained(socks5, byQUIC), chained(byQUIC, socks5), chained(https, secureSOCKS, h2), chained(h2, namesOnly),
		exit(http), exit(h2), exit(byQUIC), exit(namesOnly), exit(socks5),
		{
			name: "a pool of socks5", open: func() ground { return &pooled{pool{kind: socks5}} }, datagrams: true,
			dead: fault.HopRefused, nobody: fault.ConnectRefused, families: both,
		},
		{
			name: "a pool of https", open: func() ground { return &pooled{pool{kind: https}} }, sealed: true,
			dead: fault.HopRefused, nobody: fault.ConnectRefused,
		},
		{
			name: "wireguard", open: func() ground { return &tunnelled{} }, datagrams: true, sealed: true, dead: fault.DNSTimeout,
			nobody: fault.ConnectRefused, families: both,
		},
	}
}

// noHop is the channel `direct`: what dies is its resolver.
type noHop struct{}

func (*noHop) arrange(_ testing.TB, s *lab.Scene) {
	s.Permitted = append(s.Permitted, s.Origin.Host.Peers(capture.TCP, 80)...)
	s.Readers = append(s.Readers, s.Origin.Host.Peers(capture.TCP, 80)...)
}
func (*noHop) channels(s *lab.Scene) string             { return dot(s) }
func (*noHop) resolves(s *lab.Scene) *internet.Resolver { return s.Resolver }
func (*noHop) die(t testing.TB, s *lab.Scene)           { gone(t, s) }

// chain is one hop or more, each with a name that the channel underneath or the hop before has to find.
type chain struct {
	kinds  []kind
	byName bool // the last hop is given the names

	hops     []*hop
	close    []func() // takes each hop away
	resolver *internet.Resolver
}

func (c *chain) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	for i, k := range c.kinds {
		h := &hop{Host: lab.Must(s.AddHost(fmt.Sprint("hop", i)))(t), authority: s.Authority.At(53)}
		h.cert = s.CA.Issue([]string{hopName(s, i)}, h.Addrs())
		lab.Must(0, s.Authority.Publish(hopName(s, i), h.Host))(t)
		c.hops = append(c.hops, h)
		if k.scheme == "socks5+tls" {
			h.bound = "bound-" + s.Canary // A7: nobody may look it up
		}
		noted := func(dial func(context.Context, netip.AddrPort) (net.Conn, error)) proxytest.Dial {
			return func(target name.Target) (net.Conn, error) {
				h.note(target)
				return h.reach(context.Background(), target, dial)
			}
		}
		switch k.scheme {
		case "h2":
			l, p := listen(t, h.Host, k.port), proxytest.NewH2(proxytest.H2Options{Connect: noted(h.Dial), Packets: noted(h.DialUDP)})
			p.Serve(l, h.cert)
			c.close = append(c.close, func() { _ = l.Close(); p.Close() })
		case "h3":
			p := proxytest.ServeH3(lab.Must(h.ListenUDP(k.port))(t), h.cert, proxytest.H3Options{Connect: noted(h.Dial), Packets: noted(h.DialUDP)})
			c.close = append(c.close, func() { _ = p.Close() })
			t.Cleanup(func() { p.Close() })
		default:
			h.open(t, k)
			c.close = append(c.close, func() { h.close(t) })
		}
	}
	c.resolver = lab.Must(s.AddResolver("dns2.example.net"))(t)
	first := c.hops[0].peers(c.kinds[0])
	s.Permitted = append(s.Resolver.Peers(), first...)
	s.Readers = first
	s.Asking = []*internet.Host{c.resolver.Host}
	if last := c.hops[len(c.hops)-1]; c.byName {
		s.Asking = []*internet.Host{last.Host}
	}
}

func (c *chain) channels(s *lab.Scene) string {
	var hops []string
	for i, k := range c.kinds {
		hops = append(hops, k.written(s, fmt.Sprintf("%s://%s:%d", k.scheme, hopName(s, i), k.port)))
	}
	resolves := "resolver: " + resolver(s, c.resolver.DoTURL())
	if c.byName {
		resolves = "resolve: exit"
	}
	return direct(s, s.Resolver.DoTURL()) + "  far: {proxy: [" + strings.Join(hops, ", ") + "], " + resolves + "}\nroutes:\n  - {to: \"*\", channel: far}\n"
}

func (c *chain) resolves(*lab.Scene) *internet.Resolver {
	if c.byName {
		return nil
	}
	return c.resolver
}

// named says whether the last hop was given a name.
func (c *chain) named(host string) bool {
	return slices.ContainsFunc(c.hops[len(c.hops)-1].log(), func(target string) bool { return strings.HasPrefix(target, host+":") })
}

// die takes the first hop away: whoever went around it would arrive.
func (c *chain) die(t testing.TB, _ *lab.Scene) {
	t.Helper()
	c.close[0]()
}

type pooled struct{ pool }

func (p *pooled) channels(s *lab.Scene) string           { return p.config(s, "here") }
func (p *pooled) resolves(*lab.Scene) *internet.Resolver { return p.resolver }
func (p *pooled) die(t testing.TB, _ *lab.Scene) {
	t.Helper()
	for _, h := range p.hops {
		h.close(t)
	}
}

type tunnelled struct{ vpnChannel }

func (f *tunnelled) channels(s *lab.Scene) string           { return f.config(s) }
func (f *tunnelled) resolves(*lab.Scene) *internet.Resolver { return f.resolver }
func (f *tunnelled) die(testing.TB, *lab.Scene)             { f.process.Kill() }
