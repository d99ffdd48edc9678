package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"watertight/hop"
	"watertight/route"
	"watertight/upstream"
)

// Overrides are the flags of the command line that change the configuration. An empty field changes nothing.
type Overrides struct {
	// Listen replaces `listen.proxy`. Loopback only: the word for more stands in a file.
	Listen []string
	// DNS replaces `listen.dns`. Loopback only, as Listen.
	DNS []string
	// Resolver replaces the upstreams of `direct`. It is refused where routes lead everywhere but to `direct`: names
	// of traffic would not go to it.
	Resolver []string
	// CA is the PEM file with the only authorities that may certify the servers of Resolver, and the proxies of Via.
	CA string
	// Via makes the channel `via`: over `direct`, through these proxies, first hop first, with the upstreams of
	// `direct`. All traffic takes it; it is refused where the file has routes.
	Via []string
	// LogLevel and LogFormat replace `log.level` and `log.format`.
	LogLevel  string
	LogFormat string
}

// override collects what is wrong with the flags.
type override struct{ problems Problems }

func (o *override) problem(what, mend string) {
	o.problems = append(o.problems, Problem{What: what, Mend: mend})
}

// Override gives a copy of c with the flags applied; c is not changed. The error is [Problems], whose place is the
// command line.
func (c *Config) Override(o Overrides) (*Config, error) {
	n := *c
	n.Channels, n.Routes = slices.Clone(c.Channels), slices.Clone(c.Routes)
	n.written = make(map[string]string, len(c.written))
	for path, text := range c.written {
		n.written[path] = text
	}
	var p override
	if len(o.Listen) > 0 {
		n.forget("listen.proxy")
		n.Listen.Proxy = nil
		p.listen(&n, "--listen", o.Listen, "proxy", func(one Listener) { n.Listen.Proxy = append(n.Listen.Proxy, ProxyListener{Listener: one}) })
	}
	if len(o.DNS) > 0 {
		n.forget("listen.dns")
		n.Listen.DNS = nil
		n.Warnings = slices.DeleteFunc(slices.Clone(c.Warnings), func(w Problem) bool { return w.What == silentDNS })
		p.listen(&n, "--dns", o.DNS, "dns", func(one Listener) { n.Listen.DNS = append(n.Listen.DNS, DNSListener{Listener: one}) })
	}
	p.authorities(o)
	p.resolver(&n, o.Resolver, o.CA)
	p.via(&n, o.Via, o.CA)
	p.word(&n, "--log-level", o.LogLevel, "log.level", &n.Log.Level)
	p.word(&n, "--log-format", o.LogFormat, "log.format", &n.Log.Format)
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return &n, nil
}

// forget drops what was written at a path: the command line replaced it.
func (c *Config) forget(path string) {
	for at := range c.written {
		if at == path || len(at) > len(path) && at[:len(path)] == path && (at[len(path)] == '.' || at[len(path)] == '[') {
			delete(c.written, at)
		}
	}
}

// listen gives add the listeners of one kind.
func (p *override) listen(c *Config, flag string, values []string, kind string, add func(Listener)) {
	for _, s := range values {
		address, mend := parseSocket(s)
		taken := slices.Concat(slices.Collect(maps.Values(c.Listen.sockets()))...)
		switch {
		case mend != "":
			if kind == "dns" && strings.Contains(s, "://") {
				mend = "write IP:PORT, such as 127.0.0.1:5353; an encrypted door has a certificate, and stands in a file under `listen.dns`"
			}
			p.problem(fmt.Sprintf("%s: `%s` is no address to listen on", flag, clip(s)), mend)
			continue
		case !address.Addr().IsLoopback():
			what := "anyone there could use this proxy: it has no TLS and no users"
			if kind == "dns" {
				what = "names would travel there in clear text: it has no TLS and no users"
			}
			p.problem(fmt.Sprintf("%s: %s can be reached from other hosts, and %s", flag, address, what),
				fmt.Sprintf("listen on 127.0.0.1:%d, or, where a firewall protects it, write `listen: {%s: {address: %q, allow_insecure: true}}` in a file", address.Port(), kind, address))
			continue
		case slices.ContainsFunc(taken, func(s socket) bool { return overlap(s, socket{address, true, kind == "dns"}) }):
			p.problem(fmt.Sprintf("%s: %s is taken already by another listener", flag, address), "give each listener its own port")
			continue
		}
		add(Listener{Address: address})
	}
}

// authorities refuses a --ca that nobody would be held to.
func (p *override) authorities(o Overrides) {
	secured := func(url string) bool { one, err := hop.ParseProxy(url); return err != nil || one.Encrypted() } // what is wrong is told elsewhere
	switch {
	case o.CA == "" || len(o.Resolver) > 0 || slices.ContainsFunc(o.Via, secured):
	case len(o.Via) > 0:
		p.problem("--ca says who certifies the proxies of --via, and none of them is over TLS", "leave out --ca, give --resolver too, or a proxy by https://, h2://, h3:// or socks5+tls://")
	default:
		p.problem("--ca says who certifies the servers of --resolver and the proxies of --via, and there is neither", "give one of the two, or write `ca:` with the upstream or the proxy in the file")
	}
}

func (p *override) resolver(c *Config, flags []string, ca string) {
	if len(flags) == 0 {
		return
	}
	if len(c.Routes) > 0 && !slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Channel == DirectName }) {
		p.problem("--resolver replaces the resolver of `direct`, and no route of "+c.name()+" leads to `direct`: the names of the traffic would go elsewhere",
			"change the upstreams in the file, or leave the file out")
		return
	}
	direct := &c.Channels[slices.IndexFunc(c.Channels, func(ch Channel) bool { return ch.Name == DirectName })]
	c.forget("channels.direct.resolver.upstreams")
	direct.Resolver.Upstreams, direct.Resolver.sources = nil, nil
	for _, flag := range flags {
		from, err := flagSource(flag, ca)
		if err != nil {
			p.problem("--ca: "+clipError(err), "give the whole path")
			return
		}
		u, err := from.spec.Build()
		if err == nil {
			direct.Resolver.Upstreams, direct.Resolver.sources = append(direct.Resolver.Upstreams, u), append(direct.Resolver.sources, from)
			if ended := upstream.Ended(flag); ended != "" {
				c.Warnings = append(slices.Clip(c.Warnings), Problem{What: "--resolver: the preset " + flag + " will give no answers: " + ended, Mend: "take another preset, such as quad9"})
			}
			continue
		}
		for _, f := range split(err) {
			what, mend := f.told(from)
			switch {
			case f.field == "ca":
				what = "--ca: " + what
			case f.field == "addresses":
				what, mend = "--resolver: "+what, "give its IP address (tls://IP), a preset such as quad9, or write it with `addresses` in a file"
			default:
				what = "--resolver: " + what
			}
			p.problem(what, mend)
		}
	}
	p.problems = slices.Compact(p.problems)
	s := direct.Resolver.Strategy
	if len(p.problems) == 0 && (s.Race > len(flags) || s.Random && len(flags) == 1) {
		p.problem(fmt.Sprintf("--resolver gives %d of the upstreams of `direct`, and its `strategy` in %s asks among more", len(flags), c.name()),
			"give --resolver once for each upstream, or change `strategy`")
	}
}

const viaMend = "write SCHEME://[USER:PASSWORD@]HOST[:PORT] with the scheme socks5, http, https, h2, h3, socks5+tls or socks4a"

func (p *override) via(c *Config, flags []string, ca string) {
	if len(flags) == 0 {
		return
	}
	if len(c.Routes) > 0 {
		p.problem("--via takes all traffic, and "+c.name()+" has routes that say otherwise", "leave out --via and write the proxy as a channel, or leave the file out")
		return
	}
	if _, ok := c.Channel(ViaName); ok {
		p.problem("--via makes a channel `via`, and "+c.name()+" has one of that name", "rename the channel in the file")
		return
	}
	direct, _ := c.Channel(DirectName)
	ch := newChannel(ViaName)
	ch.Resolver = direct.Resolver
	ch.Resolver.Upstreams, ch.Resolver.sources = slices.Clone(direct.Resolver.Upstreams), slices.Clone(direct.Resolver.sources)
	for _, s := range flags {
		one, err := hop.ParseProxy(s)
		if err != nil {
			p.problem("--via: "+clipError(err), viaMend)
			continue
		}
		from := proxySource{spec: hop.Spec{URL: s}, shown: hop.Spec{URL: one.String()}}
		if ca != "" && one.Encrypted() {
			held, err := flagSource(s, ca)
			if err != nil {
				p.problem("--ca: "+clipError(err), "give the whole path")
				return
			}
			from.spec.CA, from.shown.CA = held.spec.CA, held.spec.CA
			if one, err = from.spec.Build(); err != nil {
				what, mend := held.toldCA(split(err)[0].err)
				p.problem("--ca: "+what, mend)
				continue
			}
		}
		ch.Proxies, ch.proxySources = append(ch.Proxies, one), append(ch.proxySources, from)
	}
	p.problems = slices.Compact(p.problems)
	for from, text := range c.written {
		if rest, ok := cutPath(from, "channels.direct.resolver"); ok {
			c.written["channels.via.resolver"+rest] = text
		}
	}
	every, err := route.ParsePattern("*")
	if err != nil {
		p.problem("--via: "+err.Error(), "please report this")
		return
	}
	c.Channels = append(c.Channels, ch)
	c.Routes = []Route{{To: []route.Pattern{every}, Channel: ViaName}}
}

func cutPath(path, parent string) (string, bool) {
	if len(path) > len(parent) && path[:len(parent)] == parent && path[len(parent)] == '.' {
		return path[len(parent):], true
	}
	return "", false
}

func (p *override) word(c *Config, flag, value, path string, set *string) {
	if value == "" {
		return
	}
	row := keyAt(path)
	if !slices.Contains(row.choices, value) {
		mend := "write one of them, or leave the flag out to have " + row.Default
		if near, ok := Nearest(value, row.choices); ok {
			mend = "did you mean `" + near + "`?"
		}
		p.problem(fmt.Sprintf("%s can be %s, not `%s`", flag, either(row.choices), clip(value)), mend)
		return
	}
	c.forget(path)
	*set = value
}

// name is the file in messages.
func (c *Config) name() string {
	if c.File == "" {
		return "the configuration"
	}
	return c.File
}
