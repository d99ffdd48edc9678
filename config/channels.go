package config

import (
	"fmt"
	"net/netip"
	"strings"

	"watertight/hop"
	"watertight/name"
	"watertight/resolve"
)

// Limits of the channels.
const (
	maxChannels    = 256
	maxChannelName = 63             // octets: it stands in logs and metrics
	maxChain       = hop.MaxProxies // in a chain
	maxUpstreams   = 32             // of one resolver
)

// newChannel is a channel with its defaults.
func newChannel(name string) Channel {
	ch := Channel{Name: name, Over: DirectName, Resolver: newResolver()}
	if name == DirectName {
		ch.Over = ""
	}
	return ch
}

// newResolver is a resolver with its defaults.
func newResolver() Resolver {
	return Resolver{Timeout: DefaultResolverTimeout, CacheSize: DefaultCacheSize, Prefetch: true, DNSSEC: resolve.DNSSEC{Mode: resolve.Off}}
}

func (l *loader) channels(n *node, c *Config) {
	if !l.fewer(n.pos, "channels", len(n.pairs), maxChannels) {
		return
	}
	l.names(n, "channels", "channels", func(key, n *node, path string) {
		if why, mend := channelName(key.text); why != "" {
			l.problem(key.pos, why, mend)
			return
		}
		c.Channels = append(c.Channels, l.channel(key, n, path))
	})
}

// channelName says what is wrong with the name of a channel, or nothing.
func channelName(s string) (why, mend string) {
	mend = "write letters, digits, hyphens and underscores, and begin with a letter or a digit"
	switch {
	case s == RefuseName:
		return "no channel can be called `refuse`: a route to `refuse` refuses", "give the channel another name"
	case s == "" || len(s) > maxChannelName:
		return fmt.Sprintf("the name of a channel has 1 to %d letters, and this one has %d", maxChannelName, len(s)), mend
	case strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || s[0] == '-' || s[0] == '_':
		return fmt.Sprintf("`%s` cannot be the name of a channel", s), mend
	}
	for _, r := range s {
		if r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return fmt.Sprintf("`%s` cannot be the name of a channel", s), mend
		}
	}
	return "", ""
}

func (l *loader) channel(key, n *node, path string) Channel {
	ch := newChannel(key.text)
	way := ""
	var resolver func() // it is read last: what it may ask depends on the tunnel
	isMap := l.fields(n, "channels.*", path, func(key string, n *node, path string) {
		switch key {
		case "over":
			if t, ok := l.text(n, path); ok {
				ch.Over = t.value
			}
		case "proxy":
			if isPool(n) {
				ch.Pool = l.pool(n, path)
				break
			}
			ch.Proxies, ch.proxySources = l.proxies(n, path)
		case "resolve":
			choice(l, n, path, keyAt("channels.*.resolve"), &way)
		case "resolver":
			resolver = func() { l.resolver(n, path, &ch.Resolver) }
		case "wireguard":
			ch.WireGuard = l.wireguard(n, path)
		}
	})
	if resolver != nil {
		// Where the tunnel itself is wrong, that is what there is to say.
		ch.Resolver.tunnel = ch.WireGuard != nil && ch.WireGuard.Tunnel.DNSOverTunnel || ch.WireGuard == nil && l.stands(path+".wireguard")
		resolver()
	}
	ch.ResolveAtExit = way == "exit"
	switch {
	case !isMap:
	case ch.Name == DirectName:
		l.checkDirect(ch, path)
		ch.Over = ""
	default:
		l.checkChannel(ch, key.pos, path, way == "" && l.stands(path+".resolve"))
		l.checkTunnel(ch, path)
	}
	if ch.ResolveAtExit {
		ch.Resolver = Resolver{}
	}
	return ch
}

// checkDirect refuses what would make `direct` something else than the ground of all channels.
func (l *loader) checkDirect(ch Channel, path string) {
	if l.stands(path + ".over") {
		l.problem(l.at(path+".over"), "`direct` stands on the ground, over no other channel", "remove `over`, or give the channel another name")
	}
	if l.stands(path + ".proxy") {
		l.problem(l.at(path+".proxy"), "`direct` has no proxy: it is the way out without one, and the other channels stand on it",
			"write another channel with this `proxy`, and a route to it")
	}
	if l.stands(path + ".wireguard") {
		l.problem(l.at(path+".wireguard"), "`direct` has no tunnel: the other channels stand on it, and the tunnel's own datagrams leave by it",
			"write another channel with this `wireguard`, and a route to it")
	}
	if ch.ResolveAtExit {
		l.problem(l.at(path+".resolve"), "`direct` has no exit that could resolve names", "remove `resolve`")
	}
}

// checkChannel looks at what the keys of one channel promise about each other. unread says that `resolve` is wrong, so
// that nothing can be said about what it asks for. A key that is written but wrong is not missing.
func (l *loader) checkChannel(ch Channel, at pos, path string, unread bool) {
	switch {
	case ch.ResolveAtExit && !l.stands(path+".proxy"):
		l.problem(l.at(path+".resolve"), fmt.Sprintf("`resolve: exit` needs a proxy that resolves, and `%s` has none", ch.Name), "write `proxy`, or `resolve: here` with a `resolver`")
	case ch.ResolveAtExit && l.stands(path+".resolver"):
		l.problem(l.at(path+".resolver"), fmt.Sprintf("the resolver of `%s` would never be asked: with `resolve: exit` the last proxy gets the names", ch.Name),
			"remove `resolver`, or write `resolve: here`")
	case !ch.ResolveAtExit && !unread && !l.stands(path+".resolver.upstreams"):
		l.problem(at, fmt.Sprintf("the channel `%s` has no resolver, and it takes none from another channel", ch.Name),
			"write `resolver: {upstreams: [quad9]}` to resolve names here, through the channel; or `resolve: exit`, and its last proxy learns and resolves them")
	}
}

// resolver reads a channel's resolver.
func (l *loader) resolver(n *node, path string, r *Resolver) {
	var upstreams []source
	var mode resolve.Mode
	byHost := map[string]addresses{}
	hosts := map[string]pos{}
	l.fields(n, "channels.*.resolver", path, func(key string, n *node, path string) {
		row := keyAt("channels.*.resolver." + key)
		switch key {
		case "upstreams":
			upstreams = l.upstreams(n, path)
		case "addresses":
			l.addresses(n, path, byHost, hosts)
		case "forward":
			r.Forward, r.forward = l.suffixes(n, path)
		case "strategy":
			l.strategy(n, path, &r.Strategy)
		case "dnssec":
			choice(l, n, path, row, &mode)
		case "trust_anchors":
			r.DNSSEC.Anchors, r.trust = l.trustAnchors(n, path)
		case "negative_anchors":
			r.DNSSEC.NegativeAnchors, r.negative = l.negativeAnchors(n, path)
		case "timeout":
			l.period(n, path, row, &r.Timeout)
		case "cache":
			l.cache(n, path, r)
		}
	})
	for _, u := range upstreams {
		host := u.host()
		if given, ok := byHost[host]; ok {
			delete(hosts, host)
			if len(u.spec.Addresses) > 0 {
				l.problem(u.pos, fmt.Sprintf("the upstream has `addresses` of its own, and `resolver.addresses` gives others for `%s`", host), "keep one of the two")
				continue
			}
			u.spec.Addresses, u.shown.Addresses = given.value, given.written
			if len(given.value) == 0 {
				continue // what was written is reported already
			}
		}
		l.finish(u, r)
	}
	l.checkStrategy(r.Strategy, len(upstreams), path)
	l.checkDNSSEC(mode, &r.DNSSEC, path)
	if len(upstreams) == 0 && l.stands(path+".upstreams") {
		return // which hosts they name is not known, and what is wrong with them is reported already
	}
	for host, at := range hosts {
		l.problem(at, fmt.Sprintf("no upstream of this resolver has the host `%s`, so its addresses would never be used", clip(host)), "remove the line, or write the upstream: https://"+clip(host)+"/dns-query")
	}
}

// strategy reads which upstreams are asked about a name.
func (l *loader) strategy(n *node, path string, s *resolve.Strategy) {
	const row = "channels.*.resolver.strategy"
	if n.kind != kindMap {
		if n.kind == kindText && strings.HasPrefix(n.text, "race") {
			l.problem(n.pos, fmt.Sprintf("`%s`: a race has a number of upstreams", path), "write `strategy: {race: 2}`")
			return
		}
		word := "order"
		choice(l, n, path, keyAt(row), &word)
		s.Random = word == "random"
		return
	}
	if l.fields(n, row, path, func(_ string, n *node, path string) { l.integer(n, path, keyAt(row+".race"), &s.Race) }) && !l.stands(path+".race") {
		l.problem(n.pos, fmt.Sprintf("`%s` has no `race`", path), "write `strategy: {race: 2}`, or the word order or random")
	}
}

// checkStrategy refuses what could not be followed with so many upstreams. Where there is none, something is wrong with
// them that is reported already; or they are the default, which is one.
func (l *loader) checkStrategy(s resolve.Strategy, upstreams int, path string) {
	if upstreams == 0 && l.stands(path+".upstreams") {
		return
	}
	upstreams = max(1, upstreams)
	at := l.at(path + ".strategy")
	switch {
	case s.Race > upstreams:
		l.problem(at, fmt.Sprintf("a race of %d needs as many upstreams, and `%s` has %d", s.Race, path, upstreams), "write more `upstreams`, or a smaller number")
	case s.Random && upstreams == 1:
		l.problem(at, fmt.Sprintf("`random` has nothing to choose from: `%s` has one upstream", path), "write more `upstreams`, or remove `strategy`")
	case s.Race > 0:
		l.warn(at, fmt.Sprintf("%d resolvers see every name at once", s.Race), "see that you trust all of them, or remove `strategy`: then one sees it")
	}
}

// cache reads what a resolver keeps.
func (l *loader) cache(n *node, path string, r *Resolver) {
	l.fields(n, "channels.*.resolver.cache", path, func(key string, n *node, path string) {
		row := keyAt("channels.*.resolver.cache." + key)
		switch key {
		case "size":
			l.integer(n, path, row, &r.CacheSize)
		case "stale":
			l.period(n, path, row, &r.Stale)
		case "prefetch":
			l.truth(n, path, &r.Prefetch)
		}
	})
	if r.CacheSize > 0 {
		return
	}
	if r.Stale > 0 {
		l.problem(l.at(path+".stale"), fmt.Sprintf("`%s.stale` needs a cache, and `size` is 0", path), "remove `stale`, or write a `size`")
	}
	if r.Prefetch && l.stands(path+".prefetch") {
		l.problem(l.at(path+".prefetch"), fmt.Sprintf("`%s.prefetch` needs a cache, and `size` is 0", path), "remove `prefetch`, or write a `size`")
	}
	r.Prefetch = false
}

// suffixes reads special-use suffixes. It gives them canonical, and as they were written.
func (l *loader) suffixes(n *node, path string) (value, written []string) {
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		h, err := name.ParseHost(strings.TrimPrefix(t.value, "."))
		suffix, isName := h.Name()
		if err == nil {
			err = resolve.Forwardable(suffix)
		}
		if err != nil || !isName {
			l.problem(n.pos, fmt.Sprintf("`%s` is no special-use suffix that can be forwarded", l.say(path, t.value)),
				"write one such as test, internal or home.arpa; names of all other suffixes go to the upstreams anyway")
			return
		}
		value, written = append(value, suffix), append(written, t.written)
	})
	return value, written
}

// addresses are those of one host: with references filled in, and as they were written.
type addresses struct{ value, written []string }

// addresses reads IP addresses by host name.
func (l *loader) addresses(n *node, path string, byHost map[string]addresses, hosts map[string]pos) {
	l.names(n, "channels.*.resolver.addresses", path, func(key, n *node, path string) {
		h, err := name.ParseHost(key.text)
		canonical, ok := h.Name()
		if err != nil || !ok {
			l.problem(key.pos, fmt.Sprintf("`%s` is not the name of a host", clip(key.text)), "write `NAME: [ADDRESS, ...]`, such as dns.example.net: [192.0.2.53]")
			return
		}
		if _, twice := byHost[canonical]; twice {
			l.problem(key.pos, fmt.Sprintf("the host `%s` is written twice", canonical), "keep one of the two")
			return
		}
		hosts[canonical] = key.pos
		var given addresses
		given.value, given.written = l.ips(n, path)
		byHost[canonical] = given
	})
}

// ips reads IP addresses: names are what these stand in for. It gives them with references filled in, and as they
// were written.
func (l *loader) ips(n *node, path string) (value, written []string) {
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		a, err := netip.ParseAddr(t.value)
		if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			l.problem(n.pos, fmt.Sprintf("`%s` is not the IP address of a server", l.say(path, t.value)), "write an address such as 192.0.2.53 or 2001:db8::53, without a port; the port stands in the URL")
			return
		}
		value, written = append(value, t.value), append(written, t.written)
	})
	return value, written
}
