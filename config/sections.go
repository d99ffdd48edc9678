package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"watertight/name"
	"watertight/route"
)

// maxListeners bounds each list of listeners.
const maxListeners = 64

// read fills in c from the root of the file.
func (l *loader) read(root *node, c *Config) {
	l.fields(root, "", "", func(key string, n *node, path string) {
		switch key {
		case "listen":
			l.listen(n, &c.Listen)
		case "dns":
			l.dns(n, &c.DNS)
		case "channels":
			l.channels(n, c)
		case "routes":
			l.routes(n, c)
		case "gateway":
			l.gateway(n, c)
		case "acme":
			l.acme(n, &c.ACME)
		case "leaktest":
			l.leakTest(n, &c.LeakTest)
		case "guard":
			l.guard(n, c)
		case "policy":
			l.policy(n, &c.Policy)
		case "exec":
			l.exec(n, &c.Policy)
		case "limits":
			l.limits(n, &c.Limits)
		case "state":
			l.state(n, path, &c.State)
		case "log":
			l.log(n, &c.Log)
		}
	})
}

func (l *loader) listen(n *node, c *Listen) {
	l.fields(n, "listen", "listen", func(key string, n *node, path string) {
		if !l.fewer(n.pos, path, len(n.list), maxListeners) {
			return
		}
		l.items(n, path, func(n *node, path string) {
			switch key {
			case "proxy":
				c.Proxy = append(c.Proxy, l.proxyListener(n, "listen.proxy", path))
				return
			case "admin":
				c.Admin = append(c.Admin, l.adminListener(n, path))
				return
			case "gateway":
				c.Gateway = append(c.Gateway, l.gatewayListener(n, path))
				return
			}
			if key == "transparent" {
				c.Transparent = append(c.Transparent, l.transparent(n, path, c.Transparent))
				return
			}
			c.DNS = append(c.DNS, l.listener(n, "listen.dns", path))
		})
	})
}

// listener reads one address of `listen.dns`, or a map with an address and what belongs to it. It gives the zero address
// where none can be read.
func (l *loader) listener(n *node, row, path string) DNSListener {
	var one DNSListener
	if n.kind != kindMap {
		one.Scheme, one.Address = l.socket(n, path)
		l.credentials(&one, nil, n.pos, path)
		l.loopback(one, n.pos, path)
		return one
	}
	var files *keyFiles
	l.fields(n, row, path, func(key string, n *node, path string) {
		switch key {
		case "address":
			one.Scheme, one.Address = l.socket(n, path)
		case "tls":
			files = l.keyFiles(n, row+".tls", path)
		case "allow_insecure":
			l.truth(n, path, &one.AllowInsecure)
		}
	})
	if !l.stands(path + ".address") {
		l.problem(n.pos, fmt.Sprintf("`%s` has no `address`", path), "write `address: "+DefaultListen+"`, or the address alone in place of the map")
	}
	l.credentials(&one, files, l.at(path+".address"), path)
	l.loopback(one, l.at(path+".address"), path+".address")
	return one
}

// socket reads IP:PORT, of `listen.dns` with a scheme before it. A name is refused: to listen on it, something would
// have to look it up.
func (l *loader) socket(n *node, path string) (scheme string, address netip.AddrPort) {
	t, ok := l.text(n, path)
	if !ok {
		return "", netip.AddrPort{}
	}
	value := t.value
	if strings.HasPrefix(path, "listen.dns") {
		scheme, value = cutScheme(value)
	}
	address, mend := parseSocket(value)
	if mend == "" {
		return scheme, address
	}
	switch {
	case t.secret:
		mend = "write IP:PORT, such as " + DefaultListen
	case strings.HasPrefix(path, "listen.dns") && strings.Contains(t.value, "://"):
		mend = "write IP:PORT for UDP and TCP, tls://IP:PORT, quic://IP:PORT, or https://IP:PORT" + DoHPath + " (HTTP/2 and HTTP/3)"
	}
	l.problem(n.pos, fmt.Sprintf("`%s` is no address to listen on", l.say(path, t.value)), mend)
	return "", netip.AddrPort{}
}

// parseSocket reads IP:PORT, or gives the mend.
func parseSocket(s string) (netip.AddrPort, string) {
	if address, err := netip.ParseAddrPort(s); err == nil {
		return netip.AddrPortFrom(address.Addr().Unmap(), address.Port()), ""
	}
	host, port := "", s
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
	}
	switch _, err := name.ParsePort(port); {
	case strings.Contains(s, "://"):
		return netip.AddrPort{}, "write IP:PORT without a scheme, such as " + DefaultListen
	case err == nil && (host == "" || host == "*"):
		return netip.AddrPort{}, "say which address: 127.0.0.1:" + port + " for this host only, 0.0.0.0:" + port + " for every network"
	case err == nil && strings.EqualFold(host, "localhost"):
		return netip.AddrPort{}, "names are not looked up to listen: write 127.0.0.1:" + port + " or [::1]:" + port
	case err == nil && strings.Contains(host, ":"):
		return netip.AddrPort{}, "write an IPv6 address in brackets, such as [::1]:" + port
	case err == nil && host != "":
		if _, err := name.ParseHost(host); err == nil {
			return netip.AddrPort{}, "names are not looked up to listen: write the IP address, such as 127.0.0.1:" + port
		}
	}
	return netip.AddrPort{}, "write IP:PORT, such as " + DefaultListen
}

// loopback refuses an address beyond this host, unless its clients show certificates or the user gave the word for it.
func (l *loader) loopback(one DNSListener, at pos, path string) {
	if !one.Address.IsValid() {
		return // reported already
	}
	shown := l.say(path, one.Address.String())
	local, known := one.Address.Addr().IsLoopback(), one.ClientCAFile != ""
	if !local && !known && !one.AllowInsecure {
		what := "%s can be reached from other hosts: it has no TLS and no users"
		mend := fmt.Sprintf("listen on 127.0.0.1:%d, or, where a firewall protects it, write {address: %q, allow_insecure: true}", one.Address.Port(), shown)
		switch {
		case one.Scheme != "":
			what = "%s can be reached from other hosts, and anyone there could resolve here: its clients show no certificates, and it has no users yet"
			mend = "write `client_ca: FILE` in its `tls`, and clients need a certificate of that authority; or, where a firewall protects it, `allow_insecure: true` beside its address"
		case strings.HasPrefix(path, "listen.dns"):
			what = "%s can be reached from other hosts, and names would travel there in clear text: it has no TLS and no users"
		}
		l.problem(at, fmt.Sprintf(what, shown), mend)
		return
	}
	switch {
	case local && one.AllowInsecure:
		l.warn(at, fmt.Sprintf("`allow_insecure` changes nothing for %s: it is on loopback", shown), "remove it")
	case known && one.AllowInsecure:
		l.warn(at, fmt.Sprintf("`allow_insecure` changes nothing for %s: its clients show certificates", shown), "remove it")
	case !local && !known && one.Scheme != "":
		l.warn(at, fmt.Sprintf("whoever in a private network reaches %s can resolve there: its clients show no certificates", shown), "see that a firewall protects it, or write `client_ca`")
	case !local && !known:
		l.warn(at, fmt.Sprintf("whoever reaches %s can use it: it has no TLS and no users", shown), "see that a firewall protects it")
	}
}

func (l *loader) routes(n *node, c *Config) {
	if n.kind != kindList && n.kind != kindMap {
		if n.kind != kindWrong {
			l.problem(n.pos, "`routes` is not a list", "write `- {to: \"*\", channel: direct}` below it, one line for each route")
		}
		return
	}
	n = asList(n)
	if len(n.list) == 0 {
		l.problem(n.pos, "`routes` is an empty list, which could mean everything or nothing",
			"remove the key, and all traffic takes `direct`; or write `- {to: \"*\", channel: refuse}`, and all is refused")
		return
	}
	l.items(n, "routes", func(n *node, path string) {
		r := Route{Line: n.pos.line}
		isMap := l.fields(n, "routes", path, func(key string, n *node, path string) {
			switch key {
			case "to":
				l.patterns(n, path, &r)
			case "user":
				l.routeUsers(n, path, &r)
			case "channel":
				if t, ok := l.text(n, path); ok {
					r.Channel = t.value
				}
			case "country":
				l.country(n, path, &r.Labels)
			case "session":
				l.session(n, path, &r.Labels)
			}
		})
		if isMap && !l.stands(path+".to") {
			l.problem(n.pos, "the route has no `to`", "write what it is for: `to: \"*\"`, `to: [\"*.example.com\", 10.0.0.0/8]`")
		}
		if isMap && !l.stands(path+".channel") {
			l.problem(n.pos, "the route has no `channel`", "write the channel that takes it, or `channel: refuse`")
		}
		if r.Refuse = r.Channel == RefuseName; r.Refuse {
			r.Channel = ""
			l.refusesLabels(path, &r.Labels)
		}
		c.Routes = append(c.Routes, r)
	})
}

func (l *loader) patterns(n *node, path string, r *Route) {
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		p, err := route.ParsePattern(t.value)
		r.To = append(r.To, p) // the zero pattern keeps the place of a wrong one
		if !ok || err == nil {
			return
		}
		l.foreign(t, path, "a pattern", err, "write `*`, a name, \"*.example.com\", .example.com, an IP address or a network such as 10.0.0.0/8")
	})
}

// foreign reports what another package found wrong with a value. Where a secret is in it, only the fact is told.
func (l *loader) foreign(t text, path, thing string, err error, mend string) {
	if t.secret {
		l.problem(t.pos, fmt.Sprintf("`%s` is not %s once its references are filled in", path, thing), mend)
		return
	}
	l.problem(t.pos, fmt.Sprintf("`%s`: %s", path, clipError(err)), mend)
}

// clipError gives an error in one bounded line.
func clipError(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	if r := []rune(s); len(r) > 300 {
		return string(r[:297]) + "..."
	}
	return s
}

func (l *loader) policy(n *node, c *Policy) {
	l.fields(n, "policy", "policy", func(key string, n *node, path string) {
		row := keyAt(path)
		switch key {
		case "plain_http":
			choice(l, n, path, row, &c.PlainHTTP)
		case "foreign_resolvers":
			choice(l, n, path, row, &c.ForeignResolvers)
		case "client_resolved":
			choice(l, n, path, row, &c.ClientResolved)
		case "plain_dns":
			l.plainDNS(n, path, &c.PlainDNS)
		case "private_targets":
			l.privateTargets(n, path, row, c)
		}
	})
}

// exec is what holds for contained programs alone.
func (l *loader) exec(n *node, c *Policy) {
	l.fields(n, "exec", "exec", func(key string, n *node, path string) {
		if key == "client_resolved" {
			choice(l, n, path, keyAt(path), &c.Contained)
		}
	})
}

// plainDNS is always refused: the key exists to say so.
func (l *loader) plainDNS(n *node, path string, set *route.Mode) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	if t.value != string(route.Refuse) {
		l.problem(n.pos, "`policy.plain_dns` can only be refuse: DNS in clear text tells everyone on the way which names are asked for, and that is what this program is there to prevent",
			"write refuse or remove the key, and let the proxy resolve names")
		return
	}
	*set = route.Refuse
}

func (l *loader) privateTargets(n *node, path string, row *Key, c *Policy) {
	if n.kind == kindText && strings.ContainsAny(n.text, ".:/") && !strings.Contains(n.text, "${") {
		n = asList(n) // one network
	}
	if n.kind != kindList {
		mode := route.Refuse
		choice(l, n, path, row, &mode)
		if mode == route.Allow {
			c.PrivateTargets.Allow = true
			l.warn(n.pos, "clients may reach every address of this host and its networks", "list the networks that they need instead")
		}
		return
	}
	l.networks(n, path, "10.1.0.0/16", func(n *node, path string, p netip.Prefix) {
		c.PrivateTargets.Networks = append(c.PrivateTargets.Networks, p)
	})
}

// networks reads those of a list, and hands on each that is one; an error shows example.
func (l *loader) networks(n *node, path, example string, each func(n *node, path string, p netip.Prefix)) {
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		p, err := parseNetwork(t.value)
		if err != nil {
			l.foreign(t, path, "a network", err, "write a network such as "+example+", or one address")
			return
		}
		each(n, path, p)
	})
}

// parseNetwork reads a network, or an address as the network of itself.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not a network", clip(s))
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q: write an IPv4 network as IPv4", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits set beyond its length; the network is %s", s, p.Masked())
	}
	return p, nil
}

func (l *loader) limits(n *node, c *Limits) {
	l.fields(n, "limits", "limits", func(key string, n *node, path string) {
		switch key {
		case "connections":
			l.integer(n, path, keyAt(path), &c.Connections)
		case "per_user":
			l.fields(n, "limits.per_user", path, func(key string, n *node, path string) {
				switch key {
				case "connections":
					l.integer(n, path, keyAt(path), &c.PerUser.Connections)
				case "new_per_second":
					l.integer(n, path, keyAt(path), &c.PerUser.NewPerSecond)
				}
			})
		case "drain":
			l.period(n, path, keyAt(path), &c.Drain)
		}
	})
}

// state reads the directory of what is kept. A relative path begins at the configuration file.
func (l *loader) state(n *node, path string, set *string) {
	t, ok := l.text(n, path)
	switch {
	case !ok:
	case t.value == NoState:
		*set = NoState
	case t.value == "" || strings.ContainsRune(t.value, 0) || strings.HasPrefix(t.value, "~"):
		l.problem(n.pos, fmt.Sprintf("`%s` is no directory", l.say(path, t.value)), "write the whole path, such as /var/lib/watertight, or none to keep nothing")
	default:
		dir, err := filepath.Abs(l.relative(t.value))
		if err != nil {
			l.problem(n.pos, fmt.Sprintf("`%s` is no directory: %s", path, clipError(err)), "write the whole path")
			return
		}
		*set = dir
	}
}

func (l *loader) log(n *node, c *Log) {
	l.fields(n, "log", "log", func(key string, n *node, path string) {
		switch key {
		case "level":
			choice(l, n, path, keyAt(path), &c.Level)
		case "format":
			choice(l, n, path, keyAt(path), &c.Format)
		case "names":
			l.truth(n, path, &c.Names)
		}
	})
}
