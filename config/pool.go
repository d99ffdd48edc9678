package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"watertight/hop"
	"watertight/trust"
)

// Defaults of a pool.
const (
	DefaultPick          = hop.RoundRobin
	DefaultSticky        = 10 * time.Minute
	DefaultHealthTimeout = 5 * time.Second
)

// Pool is many upstream proxies, of which each connection takes one.
type Pool struct {
	Spec hop.PoolSpec // Members are those of the file and then those of the list
	// Scheme is what lines of the list speak that do not say so; Template the provider of all members.
	Scheme, Template string

	fixed   []hop.Proxy // those of the file
	list    string      // as it was written
	sources []proxySource
	shared  proxySource  // what is said of TLS for all members
	proof   trust.Server // the same, read
}

// poolKeys are the keys of a proxy that belong to a pool alone.
var poolKeys = []string{"pool", "list", "scheme", "pick", "sticky", "health"}

// isPool says whether a proxy is written as a pool.
func isPool(n *node) bool {
	return n.kind == kindMap && slices.ContainsFunc(n.pairs, func(p pair) bool { return slices.Contains(poolKeys, p.key.text) })
}

// pool reads a pool; nil where it cannot be used.
func (l *loader) pool(n *node, path string) *Pool {
	before := len(l.problems)
	p := &Pool{Spec: hop.PoolSpec{Pick: DefaultPick}}
	const row = "channels.*.proxy"
	l.fields(n, row, path, func(key string, n *node, path string) {
		switch key {
		case "pool":
			l.items(asList(n), path, func(n *node, path string) {
				if s, ok := l.member(n, path); ok {
					p.sources = append(p.sources, s)
				}
			})
		case "list":
			if t, ok := l.text(n, path); ok {
				p.Spec.List, p.list = l.relative(t.value), t.value
			}
		case "scheme":
			choice(l, n, path, keyAt(row+".scheme"), &p.Scheme)
		case "template":
			if t, ok := l.text(n, path); ok {
				p.Template = t.value
			}
		case "pick":
			choice(l, n, path, keyAt(row+".pick"), &p.Spec.Pick)
		case "sticky":
			l.sticky(n, path, &p.Spec)
		case "health":
			l.health(n, path, &p.Spec)
		case "url":
			l.problem(n.pos, fmt.Sprintf("`%s` is about one proxy, and a pool stands here", path), "remove it; each member of the pool is a URL, or a map with its `url`")
		default:
			l.proof(key, n, path, &p.shared)
		}
	})
	l.checkPool(n, path, p)
	if len(l.problems) > before {
		return nil
	}
	l.fillPool(path, p)
	if len(l.problems) > before {
		return nil
	}
	return p
}

// member reads one member of a pool: a URL, or a map with how it has to prove who it is, where that is not said for all.
func (l *loader) member(n *node, path string) (s proxySource, ok bool) {
	var p hop.Proxy
	if n.kind != kindMap {
		p, s.spec.URL, ok = l.proxyURL(n, path)
		s.shown.URL = p.String()
		return s, ok
	}
	isMap := l.fields(n, "channels.*.proxy.pool", path, func(key string, n *node, path string) {
		if key == "url" {
			p, s.spec.URL, ok = l.proxyURL(n, path)
			s.shown.URL = p.String()
			return
		}
		l.proof(key, n, path, &s)
	})
	if isMap && !l.stands(path+".url") {
		l.problem(n.pos, fmt.Sprintf("`%s` has no `url`", path), "write `url: https://[USER:PASSWORD@]HOST[:PORT]`")
	}
	return s, ok
}

// sticky reads what sticks to a member, and for how long.
func (l *loader) sticky(n *node, path string, s *hop.PoolSpec) {
	const row = "channels.*.proxy.sticky"
	s.For = DefaultSticky
	if n.kind != kindMap {
		choice(l, n, path, keyAt(row), &s.By)
		return
	}
	isMap := l.fields(n, row, path, func(key string, n *node, path string) {
		switch key {
		case "by":
			choice(l, n, path, keyAt(row+".by"), &s.By)
		case "for":
			l.period(n, path, keyAt(row+".for"), &s.For)
		}
	})
	if isMap && !l.stands(path+".by") {
		l.problem(n.pos, fmt.Sprintf("`%s` has no `by`", path), "write `sticky: {by: session, for: 10m}`, or by user, client or target")
	}
}

// health reads how members are tried that nobody uses.
func (l *loader) health(n *node, path string, s *hop.PoolSpec) {
	const row = "channels.*.proxy.health"
	s.Timeout = DefaultHealthTimeout
	isMap := l.fields(n, row, path, func(key string, n *node, path string) {
		switch key {
		case "every":
			l.period(n, path, keyAt(row+".every"), &s.Every)
		case "timeout":
			l.period(n, path, keyAt(row+".timeout"), &s.Timeout)
		}
	})
	if isMap && !l.stands(path+".every") {
		l.problem(n.pos, fmt.Sprintf("`%s` has no `every`", path), "write `health: {every: 30s}`")
	}
}

// checkPool looks at what the keys of a pool promise about each other.
func (l *loader) checkPool(n *node, path string, p *Pool) {
	switch {
	case !l.stands(path+".pool") && !l.stands(path+".list"):
		l.problem(n.pos, fmt.Sprintf("`%s` has no members", path), "write `pool: [URL, ...]`, `list: FILE`, or both; one proxy alone is a URL")
	case l.stands(path+".scheme") && !l.stands(path+".list"):
		l.problem(l.at(path+".scheme"), fmt.Sprintf("`%s.scheme` is what lines of a `list` speak, and there is none", path), "remove it: the URLs of `pool` say it themselves")
	}
}

// fillPool makes the members.
func (l *loader) fillPool(path string, p *Pool) {
	var ok bool
	if p.proof, ok = l.shared(p.shared, path); !ok {
		return
	}
	for i, from := range p.sources {
		at := fmt.Sprintf("%s.pool[%d]", path, i)
		one, ok := l.proved(from, at, p.proof)
		if !ok {
			return
		}
		if p.Template != "" {
			var err error
			if one, err = one.WithTemplate(p.Template); err != nil {
				what, mend := templateFault(err)
				l.problem(l.at(at), what, mend)
				return
			}
		}
		p.fixed = append(p.fixed, one)
	}
	members, err := p.Read(l.host)
	var bad ListProblems
	switch {
	case errors.As(err, &bad):
		for _, one := range bad {
			l.problem(l.at(path+".list"), one.What, one.Mend)
		}
		return
	case err != nil:
		l.problem(l.at(path+".list"), clipError(err), "check the path (a relative one begins at the configuration file) and its permissions")
		return
	}
	if p.Spec.List != "" && l.host.Exposed(p.Spec.List) && slices.ContainsFunc(members, func(m hop.Proxy) bool { return m.Password != "" || !m.Template.IsZero() }) {
		l.warn(l.at(path+".list"), fmt.Sprintf("every user of this host may read or change the file %s, and secrets stand in it", clip(p.list)), "chmod 600 "+clip(p.list))
	}
	p.Spec.Members = members
	l.checkProof(path, p)
	if _, err := hop.NewPool(p.Spec); err != nil {
		l.problem(l.at(path), clipError(err), "keep the pool smaller")
	}
}

// checkProof refuses what would be honoured by no member.
func (l *loader) checkProof(path string, p *Pool) {
	if slices.ContainsFunc(p.Spec.Members, hop.Proxy.Encrypted) {
		return
	}
	for _, e := range p.shared.proofTree() {
		l.problem(l.at(path+"."+e.key), fmt.Sprintf("no member of the pool is over TLS, and `%s` would not be honoured", e.key),
			fmt.Sprintf("remove `%s`, or use proxies over TLS: https://, h2://, h3:// or socks5+tls://", e.key))
	}
}

// ListProblems are what is wrong with a list of proxies.
type ListProblems []Problem

func (p ListProblems) Error() string {
	texts := make([]string, len(p))
	for i, one := range p {
		texts[i] = one.What
	}
	return strings.Join(texts, "\n")
}

// Read gives the members of the pool as the configuration and its list have them now. The error is [ListProblems] where lines
// of the list are wrong; it shows nothing of them.
func (p *Pool) Read(h Host) ([]hop.Proxy, error) {
	members := slices.Clone(p.fixed)
	if p.Spec.List == "" {
		return members, nil
	}
	text, err := h.ReadFile(p.Spec.List, hop.MaxList)
	if err != nil {
		return nil, fmt.Errorf("the list %s cannot be read: %s", clip(p.list), reason(err))
	}
	listed, bad := hop.ParseList(text, p.Scheme, p.Template)
	if len(bad) == 0 {
		for _, one := range listed {
			members = append(members, one.Proving(p.proof))
		}
		return members, nil
	}
	var problems ListProblems
	for _, err := range bad {
		what := fmt.Sprintf("the list %s: %s", clip(p.list), clipError(err))
		problems = append(problems, Problem{File: p.Spec.List, What: what, Mend: "write HOST:PORT, HOST:PORT:USER:PASSWORD or a URL in each line; nothing of the list is used until all of it can be"})
	}
	return nil, problems
}

// poolTree is a pool as it is shown.
func (c *Config) poolTree(ch Channel) entries {
	p, at := ch.Pool, "channels."+ch.Name+".proxy"
	var t entries
	if len(p.fixed) > 0 {
		var list []any
		for i, one := range p.fixed {
			on := fmt.Sprintf("%s.pool[%d]", at, i)
			list = append(list, p.sources[i].tree(c.text(on, c.text(on+".url", one.String()))))
		}
		t = append(t, entry{"pool", list})
	}
	if p.list != "" {
		t = append(t, entry{"list", c.text(at+".list", p.list)})
	}
	if p.Scheme != "" {
		t = append(t, entry{"scheme", c.text(at+".scheme", p.Scheme)})
	}
	if p.Template != "" {
		t = append(t, entry{"template", c.text(at+".template", p.Template)})
	}
	t = append(t, p.shared.proofTree()...)
	t = append(t, entry{"pick", c.text(at+".pick", string(p.Spec.Pick))})
	if p.Spec.By != hop.ByNothing {
		t = append(t, entry{"sticky", entries{
			{"by", c.text(at+".sticky", c.text(at+".sticky.by", string(p.Spec.By)))}, {"for", c.text(at+".sticky.for", short(p.Spec.For))},
		}})
	}
	if p.Spec.Every > 0 {
		t = append(t, entry{"health", entries{
			{"every", c.text(at+".health.every", short(p.Spec.Every))}, {"timeout", c.text(at+".health.timeout", short(p.Spec.Timeout))},
		}})
	}
	return t
}

// ways are the proxies of a channel that what it carries has to pass: those of its chain, or, of a pool, the one that carries
// the least.
func (ch Channel) ways() []hop.Proxy {
	if ch.Pool == nil {
		return ch.Proxies
	}
	return []hop.Proxy{hop.Least(ch.Pool.Spec.Members)}
}
