package cells

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
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
	"watertight/lab/servers"
	"watertight/wireguard"
)

// The ends of the tunnel inside it. Those of the client are public, so that the origin's answers find the way back.
var (
	tunnelClient = []netip.Addr{netip.MustParseAddr("151.217.9.2"), netip.MustParseAddr("2a12:4941::2")}
	tunnelMoved  = netip.MustParseAddr("151.217.10.7") // of the peer, outside
	tunnelPeer   = []netip.Addr{netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("fd99::1")}
)

// vpnChannel is a configuration whose traffic goes to the channel `vpn`, over `direct` and through a tunnel to a peer that
// has a name: wireguard-go, as Debian packages it.
type vpnChannel struct {
	missing  bool   // the name of the endpoint is not published
	dead     bool   // nobody is at the endpoint
	wrongKey bool   // the peer knows another key
	plain    bool   // the resolver is plain DNS inside the tunnel
	via      string // how the resolver is asked; empty: DNS over TLS
	moves    bool   // the peer has a second address, and speaks by itself

	peer     *internet.Host
	process  *internet.Process
	resolver *internet.Resolver // of `vpn`
	inside   *dnstest.Server    // plain DNS inside the tunnel
	public   wireguard.PublicKey
}

// host is the name of the endpoint. The canary's label is in it: it is searched for like the canary.
func (f *vpnChannel) host(s *lab.Scene) string { return "vpn-" + s.Label + ".example.net" }

func of(families internet.Families, both []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(both), func(a netip.Addr) bool {
		return families == internet.V4 && a.Is6() || families == internet.V6 && a.Is4()
	})
}

func (f *vpnChannel) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	var client, far wireguard.PrivateKey
	_, _ = rand.Read(client[:]) // it never fails
	_, _ = rand.Read(far[:])
	f.public = lab.Must(far.Public())(t)
	known := lab.Must(client.Public())(t)
	if f.wrongKey {
		known[0] ^= 1
	}
	lab.Must(0, os.WriteFile(filepath.Join(s.Dir, "vpn.key"), []byte(base64.StdEncoding.EncodeToString(client[:])+"\n"), 0o600))(t)
	mine := of(s.Families, tunnelClient)
	var lines []string
	has := mine
	if f.moves {
		has, lines = append(slices.Clone(mine), tunnelMoved), []string{"PersistentKeepalive = 1"}
	}
	f.peer = lab.Must(s.AddHost("peer", has...))(t)
	if !f.missing {
		lab.Must(0, s.Authority.Publish(f.host(s), f.peer))(t)
	}
	f.resolver = lab.Must(s.AddResolver("dns2.example.net"))(t)
	if !f.dead {
		f.process = servers.WireGuard(t, f.peer, far, known, mine, of(s.Families, tunnelPeer), lines...)
	}
	if f.plain {
		socket, l := lab.Must(f.peer.ListenUDP(53))(t), lab.Must(f.peer.Listen(53))(t)
		f.inside = dnstest.ServePlain(socket, l, f.resolver.Recurse)
		s.Cleanup(func() { _ = f.inside.Close() })
	}
	s.Permitted = append(s.Resolver.Peers(), servers.WireGuardPeers(f.peer)...)
	s.Readers = nil // nobody on the uplink
	s.Asking = []*internet.Host{f.resolver.Host}
}

func (f *vpnChannel) config(s *lab.Scene) string {
	var addresses []string
	for _, a := range of(s.Families, tunnelClient) {
		addresses = append(addresses, fmt.Sprintf("%q", a))
	}
	tunnel := fmt.Sprintf("{private_key_file: vpn.key, address: [%s], dns_over_tunnel: %v, peers: [{public_key: %q, endpoint: \"%s:%d\", allowed_ips: [0.0.0.0/0, \"::/0\"]}]}",
		strings.Join(addresses, ", "), f.plain, f.public, f.host(s), servers.PortWireGuard)
	there := *s
	there.Resolver = f.resolver
	resolves := resolver(s, f.resolver.DoTURL())
	for _, via := range transports {
		if via.name == f.via {
			resolves = resolver(s, via.written(&there, ""))
		}
	}
	if f.plain {
		at := of(s.Families, tunnelPeer)[0]
		resolves = fmt.Sprintf("{timeout: 5s, upstreams: [%q]}", "udp://"+netip.AddrPortFrom(at, 53).String())
	}
	return direct(s, s.Resolver.DoTURL()) + "  vpn: {over: direct, wireguard: " + tunnel + ", resolver: " + resolves + "}\nroutes:\n  - {to: \"*\", channel: vpn}\n"
}

func (f *vpnChannel) cell() lab.Cell {
	return lab.Cell{Arrange: f.arrange, Start: with(f.config), After: f.carried}
}

// carried fails the test unless the tunnel's name was looked up by the resolver of `direct` alone, and what went to the
// peer was datagrams of WireGuard.
func (f *vpnChannel) carried(t testing.TB, s *lab.Scene) {
	found := false
	for _, q := range s.Authority.Log() {
		if q.Name != f.host(s) {
			continue
		}
		found = true
		if !s.Resolver.Has(q.Client.Addr()) {
			t.Errorf("the endpoint was looked up by %v", q.Client)
		}
	}
	if !found && !f.missing {
		t.Error("nobody looked the endpoint up")
	}
	count := 0
	for _, p := range lab.Must(s.Packets())(t) {
		if p.Proto != capture.UDP || !p.Outgoing {
			continue
		}
		count++
		if len(p.Payload) < 4 || p.Payload[0] < 1 || p.Payload[0] > 4 || p.Payload[1]|p.Payload[2]|p.Payload[3] != 0 {
			t.Errorf("a datagram left that is none of WireGuard: %v", p)
		}
	}
	if count == 0 && !f.missing {
		t.Error("no datagram of WireGuard left")
	}
}

func TestWireGuard(t *testing.T) {
	t.Parallel()
	for _, families := range internet.AllFamilies() {
		t.Run("A5/wireguard/"+string(families), func(t *testing.T) {
			f := &vpnChannel{}
			c := f.cell()
			c.Families = families
			run(t, c)
		})
		t.Run("B5/plain DNS inside the tunnel/"+string(families), func(t *testing.T) {
			f := &vpnChannel{plain: true}
			c := f.cell()
			c.Families = families
			c.After = func(t testing.TB, s *lab.Scene) {
				f.carried(t, s)
				if !slices.Contains(f.inside.Names(), s.Canary) {
					t.Error("the server inside the tunnel was not asked")
				}
			}
			run(t, c)
		})
	}
	for _, via := range inDatagrams() {
		t.Run("D2/"+via.name+"/wireguard", func(t *testing.T) { run(t, (&vpnChannel{via: via.name}).cell()) })
	}
	t.Run("B1/the peer dies", func(t *testing.T) {
		f := &vpnChannel{}
		c := f.cell()
		c.Refused = "*"
		c.Before = func(t testing.TB, s *lab.Scene) {
			served(t, s, other(s, "before"))
			lab.Settle(t, s)
			f.process.Kill()
		}
		run(t, c)
	})
	for what, f := range map[string]struct {
		vpnChannel
		says string
	}{
		"nobody is there":               {vpnChannel{dead: true}, "cannot be reached"},
		"the peer knows another key":    {vpnChannel{wrongKey: true}, "did not answer the handshake"},
		"the endpoint does not exist":   {vpnChannel{missing: true}, "does not exist"},
		"plain DNS and nobody is there": {vpnChannel{dead: true, plain: true}, "cannot be reached"},
	} {
		t.Run("B1/"+what, func(t *testing.T) {
			c := f.cell()
			c.Start = new(running).unready(f.config)
			c.Refused = "(NOT_READY)"
			after := c.After
			c.After = func(t testing.TB, s *lab.Scene) {
				after(t, s)
				if f.resolver.DoT != nil && len(f.resolver.Log()) > 0 {
					t.Errorf("the resolver behind the tunnel was asked: %v", f.resolver.Log())
				}
			}
			if e := run(t, c); !strings.Contains(e.Client.Text(), f.says) {
				t.Errorf("the client was not told %q: %s", f.says, e.Client.Text())
			}
		})
	}
}

func TestWireGuard_PlainDNSIsRefusedAnywhereElse(t *testing.T) {
	const public = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
	config := func(over string, asks bool, rest string) func(*lab.Scene) string {
		return func(s *lab.Scene) string {
			key := filepath.Join(s.Dir, "vpn.key")
			if err := os.WriteFile(key, []byte("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n"), 0o600); err != nil {
				panic(err)
			}
			return direct(s, s.Resolver.DoTURL()) + fmt.Sprintf("  vpn: {wireguard: {private_key_file: vpn.key, address: 10.2.0.2, dns_over_tunnel: %v, peers: {public_key: %q, endpoint: \"%s:51820\", allowed_ips: 0.0.0.0/0}}, resolver: {upstreams: [%q]}}\n",
				asks, public, s.Origin.Addr(), over) + rest
		}
	}
	toVPN := "routes: [{to: \"*\", channel: vpn}]\n"
	play(t, "B5/in a tunnel that does not ask for it", stillborn(config("udp://10.2.0.1", false, toVPN), "clear", "dns_over_tunnel"))
	play(t, "B5/over a tunnel that asks for it", stillborn(config("udp://10.2.0.1", true, "  top: {over: vpn, resolver: {upstreams: [\"udp://10.2.0.1\"]}}\nroutes: [{to: \"*\", channel: top}]\n"), "clear", "udp://10.2.0.1"))
	play(t, "B5/a tunnel and a proxy", stillborn(func(s *lab.Scene) string {
		return strings.Replace(config("tls://9.9.9.9", true, toVPN)(s), "vpn: {", "vpn: {proxy: \"socks5://192.0.2.7\", ", 1)
	}, "one way out"))
	play(t, "B4/a tunnel over a hop that carries connections", stillborn(func(s *lab.Scene) string {
		return strings.Replace(config("tls://9.9.9.9", true, toVPN)(s), "  vpn: {", "  below: {proxy: \"http://192.0.2.7:3128\", resolver: "+resolver(s, s.Resolver.DoTURL())+"}\n  vpn: {over: below, ", 1)
	}, "datagrams", "192.0.2.7"))
}
