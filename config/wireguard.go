package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"watertight/channel"
	"watertight/hop"
	"watertight/name"
	"watertight/upstream"
	"watertight/wire"
	"watertight/wireguard"
)

// WireGuard is a tunnel that is the way out of a channel.
type WireGuard struct {
	Tunnel wireguard.Config
	// Address are the tunnel's addresses with the length that was written; 32 or 128 where none was.
	Address []netip.Prefix
	// PrivateKeyFile and PresharedKeyFiles are where the keys were read from. The latter has an entry for each peer, empty
	// where it has none.
	PrivateKeyFile    string
	PresharedKeyFiles []string
}

const (
	wireguardRow = "channels.*.wireguard"
	keyMend      = "write the file that `wg genkey` was saved to: one key, 44 characters of base64"
	publicMend   = "write the peer's public key as `wg pubkey` prints it, 44 characters of base64"
)

// wireguard reads the tunnel of a channel. It gives one whose parts are good, or nil where something is wrong with it and
// reported.
func (l *loader) wireguard(n *node, path string) *WireGuard {
	w := &WireGuard{Tunnel: wireguard.Config{MTU: wireguard.DefaultMTU}}
	before := len(l.problems)
	if !l.fields(n, wireguardRow, path, func(key string, n *node, path string) {
		row := keyAt(wireguardRow + "." + key)
		switch key {
		case "private_key_file":
			w.PrivateKeyFile = l.keyFile(n, path, func(s string) (err error) {
				w.Tunnel.PrivateKey, err = wireguard.ParsePrivateKey(s)
				return err
			})
		case "address":
			l.items(n, path, func(n *node, path string) { l.tunnelAddress(n, path, w) })
		case "mtu":
			l.integer(n, path, row, &w.Tunnel.MTU)
		case "dns_over_tunnel":
			l.truth(n, path, &w.Tunnel.DNSOverTunnel)
		case "peers":
			l.peers(n, path, w)
		}
	}) {
		return nil
	}
	for _, need := range []struct{ key, mend string }{
		{"private_key_file", keyMend},
		{"address", "write the address of this end inside the tunnel, such as `address: [10.2.0.2/32]`"},
		{"peers", "write `peers: [{public_key: KEY, endpoint: \"vpn.example:51820\", allowed_ips: [0.0.0.0/0, \"::/0\"]}]`"},
	} {
		if !l.stands(path + "." + need.key) {
			l.problem(n.pos, fmt.Sprintf("`%s` has no `%s`", path, need.key), need.mend)
		}
	}
	if len(l.problems) > before {
		return nil
	}
	if err := w.Tunnel.Validate(); err != nil {
		mend := "look at the keys of this tunnel again"
		if slices.ContainsFunc(w.Tunnel.Addresses, netip.Addr.Is6) && w.Tunnel.MTU < wireguard.MinMTU6 {
			mend = fmt.Sprintf("write an `mtu` of %d or more, or remove the key", wireguard.MinMTU6)
		}
		l.problem(n.pos, fmt.Sprintf("`%s`: %s", path, clipError(err)), mend)
		return nil
	}
	return w
}

// keyFile reads a key from a file. Nothing of what is in the file is told.
func (l *loader) keyFile(n *node, path string, parse func(string) error) string {
	t, ok := l.text(n, path)
	if !ok {
		return ""
	}
	file := l.relative(t.value)
	b, err := l.host.ReadFile(file, MaxSecret)
	if err != nil {
		l.problem(n.pos, fmt.Sprintf("the file %s cannot be read: %s", l.say(path, t.value), reason(err)), "check the path (a relative one begins at the configuration file) and its permissions")
		return ""
	}
	if l.host.Exposed(file) {
		l.warn(n.pos, fmt.Sprintf("every user of this host may read or change the key %s", l.say(path, t.value)), "chmod 600 "+l.say(path, t.value))
	}
	if err := parse(strings.TrimSpace(string(b))); err != nil {
		l.problem(n.pos, fmt.Sprintf("the file %s: %s", l.say(path, t.value), clipError(err)), keyMend)
		return ""
	}
	return file
}

func (l *loader) tunnelAddress(n *node, path string, w *WireGuard) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	p, err := netip.ParsePrefix(t.value)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(t.value); err == nil {
			p = netip.PrefixFrom(a, a.BitLen())
		}
	}
	if err == nil {
		err = wireguard.CheckAddress(p.Addr())
	}
	const mend = "write an address such as 10.2.0.2/32 or fd00:2::2/128"
	switch {
	case err != nil:
		l.problem(n.pos, fmt.Sprintf("`%s` cannot be the address of an end of a tunnel", l.say(path, t.value)), mend)
	case slices.Contains(w.Tunnel.Addresses, p.Addr()):
		l.problem(n.pos, fmt.Sprintf("the address `%s` is written twice", l.say(path, t.value)), "keep one of the two")
	case len(w.Address) == wireguard.MaxAddresses:
		l.problem(n.pos, fmt.Sprintf("a tunnel has at most %d addresses", wireguard.MaxAddresses), "write fewer")
	default:
		w.Tunnel.Addresses, w.Address = append(w.Tunnel.Addresses, p.Addr()), append(w.Address, p)
	}
}

func (l *loader) peers(n *node, path string, w *WireGuard) {
	if n = asList(n); !l.fewer(n.pos, path, len(n.list), wireguard.MaxPeers) {
		return
	}
	l.items(n, path, func(n *node, path string) {
		var p wireguard.Peer
		preshared := ""
		if !l.fields(n, wireguardRow+".peers", path, func(key string, n *node, path string) {
			switch key {
			case "public_key":
				l.publicKey(n, path, &p.PublicKey)
			case "preshared_key_file":
				preshared = l.keyFile(n, path, func(s string) (err error) {
					p.PresharedKey, err = wireguard.ParsePresharedKey(s)
					return err
				})
			case "endpoint":
				l.endpoint(n, path, &p.Endpoint)
			case "allowed_ips":
				l.allowedIPs(n, path, &p.AllowedIPs)
			case "keepalive":
				if l.period(n, path, keyAt(wireguardRow+".peers.keepalive"), &p.Keepalive); p.Keepalive%time.Second != 0 {
					l.problem(n.pos, fmt.Sprintf("`%s` is not a whole number of seconds", path), "write 25s, or remove the key")
				}
			}
		}) {
			return
		}
		for _, need := range []struct{ key, mend string }{
			{"public_key", publicMend},
			{"endpoint", "write `endpoint: \"HOST:PORT\"`: a tunnel begins at this end"},
			{"allowed_ips", "write the networks behind the peer, such as `allowed_ips: [0.0.0.0/0, \"::/0\"]` for all"},
		} {
			if !l.stands(path + "." + need.key) {
				l.problem(n.pos, fmt.Sprintf("`%s` has no `%s`", path, need.key), need.mend)
			}
		}
		w.Tunnel.Peers, w.PresharedKeyFiles = append(w.Tunnel.Peers, p), append(w.PresharedKeyFiles, preshared)
	})
}

func (l *loader) publicKey(n *node, path string, set *wireguard.PublicKey) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	k, err := wireguard.ParsePublicKey(t.value)
	if err != nil {
		l.problem(n.pos, fmt.Sprintf("`%s` is %s", path, clipError(err)), publicMend)
		return
	}
	*set = k
}

func (l *loader) endpoint(n *node, path string, set *name.Target) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	at, err := name.Parse(t.value)
	if a, literal := at.Host().Addr(); err == nil && literal && (a.IsUnspecified() || a.IsMulticast()) {
		err = fmt.Errorf("no peer has the address %v", a)
	}
	if err == nil && wire.PlainDNS(at.Port()) {
		l.problem(n.pos, fmt.Sprintf("`%s` has the port %d, on which names travel in clear text: nothing is ever sent there", path, at.Port()), "ask the peer for another port, such as 51820")
		return
	}
	if err != nil {
		l.foreign(t, path, "an endpoint", err, "write HOST:PORT, such as vpn.example:51820 or [2001:db8::1]:51820")
		return
	}
	*set = at
}

func (l *loader) allowedIPs(n *node, path string, set *[]netip.Prefix) {
	if n.kind == kindList && !l.fewer(n.pos, path, len(n.list), wireguard.MaxAllowedIPs) {
		return
	}
	l.networks(n, path, "10.1.0.0/16", func(n *node, path string, p netip.Prefix) {
		*set = append(*set, p)
	})
}

// checkTunnel looks at what a tunnel and the other keys of its channel promise about each other.
func (l *loader) checkTunnel(ch Channel, path string) {
	if !l.stands(path + ".wireguard") {
		return
	}
	if l.stands(path + ".proxy") {
		l.problem(l.at(path+".proxy"), fmt.Sprintf("`%s` has a tunnel, and a channel has one way out", ch.Name),
			fmt.Sprintf("write another channel with this `proxy` and `over: %s`, so that the proxy is reached through the tunnel", ch.Name))
	}
	if ch.WireGuard == nil {
		return
	}
	for i, u := range ch.Resolver.Upstreams {
		if err := channel.CarryPlain(u, &ch.WireGuard.Tunnel); err != nil {
			l.problem(ch.Resolver.sources[i].pos, fmt.Sprintf("the resolver %s cannot be reached: %s", clip(u.Text), clipError(err)), "add a network to `allowed_ips` or an `address`, or give a resolver behind the tunnel")
			continue
		}
		if u.Kind == upstream.Plain {
			l.warn(ch.Resolver.sources[i].pos, fmt.Sprintf("the names of `%s` travel in clear text inside its tunnel: whoever runs it sees them, and who answers proves nothing", ch.Name), "give an encrypted resolver, or see that you trust the tunnel's other end")
		}
	}
}

// checkTunnels refuses a tunnel that what it stands on cannot carry, and two that would take each other's packets.
func (l *loader) checkTunnels(c *Config) {
	for i, ch := range c.Channels {
		if ch.WireGuard == nil {
			continue
		}
		at := l.at("channels." + ch.Name + ".wireguard")
		var proxies []hop.Proxy // from the ground up
		pooled := false
		for name := ch.Over; name != ""; {
			below, _ := c.Channel(name)
			pooled = pooled || below.Pool != nil
			if proxies, name = append(slices.Clone(below.Proxies), proxies...), below.Over; below.WireGuard != nil {
				break // it carries datagrams, or it is refused itself
			}
		}
		err := channel.CarryTunnel(&ch.WireGuard.Tunnel, proxies)
		if err == nil && pooled {
			err = errors.New("all users share a tunnel and its one flow, which does not go from member to member of a pool")
		}
		if err != nil {
			l.problem(at, fmt.Sprintf("the tunnel of `%s` cannot be carried: %v", ch.Name, err), "let it stand over `direct`, or over a channel that carries such datagrams")
		}
		if below, _ := c.Channel(ch.Over); below.ResolveAtExit {
			for j, p := range ch.WireGuard.Tunnel.Peers {
				if host, named := p.Endpoint.Host().Name(); named {
					path := fmt.Sprintf("channels.%s.wireguard.peers[%d].endpoint", ch.Name, j)
					l.problem(l.at(path), fmt.Sprintf("nobody could look up the endpoint %s: `%s` stands over `%s`, which leaves names to its exit", l.say(path, host), ch.Name, below.Name),
						fmt.Sprintf("give the endpoint's address; or write `resolve: here` and a `resolver` for `%s`", below.Name))
				}
			}
		}
		for _, other := range c.Channels[:i] {
			if other.WireGuard != nil && other.WireGuard.Tunnel.Rivals(&ch.WireGuard.Tunnel) {
				l.problem(at, fmt.Sprintf("`%s` and `%s` have the same private key and a peer in common, which sends all it has for a key to one place", other.Name, ch.Name), "give each its own key, or let several routes lead to one channel")
			}
		}
	}
}

// tunnelTree is the tunnel of a channel as Show prints it.
func (c *Config) tunnelTree(w *WireGuard, path string) entries {
	t := entries{
		{"private_key_file", c.text(path+".private_key_file", w.PrivateKeyFile)},
		{"address", texts(w.Address, func(i int, p netip.Prefix) string { return c.text(fmt.Sprintf("%s.address[%d]", path, i), p.String()) })},
		{"dns_over_tunnel", w.Tunnel.DNSOverTunnel},
		{"mtu", w.Tunnel.MTU},
	}
	var peers []any
	for i, p := range w.Tunnel.Peers {
		at := fmt.Sprintf("%s.peers[%d]", path, i)
		peer := entries{{"public_key", c.text(at+".public_key", p.PublicKey.String())}}
		if w.PresharedKeyFiles[i] != "" {
			peer = append(peer, entry{"preshared_key_file", c.text(at+".preshared_key_file", w.PresharedKeyFiles[i])})
		}
		peers = append(peers, append(peer,
			entry{"endpoint", c.text(at+".endpoint", p.Endpoint.String())},
			entry{"allowed_ips", texts(p.AllowedIPs, func(j int, n netip.Prefix) string {
				return c.text(fmt.Sprintf("%s.allowed_ips[%d]", at, j), n.String())
			})},
			entry{"keepalive", c.text(at+".keepalive", short(p.Keepalive))},
		))
	}
	return append(t, entry{"peers", peers})
}
