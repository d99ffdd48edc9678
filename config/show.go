package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/token"

	"watertight/route"
)

// entries is a map in the order in which it is written.
type entries []entry

type entry struct {
	key   string
	value any // string, int, bool, []any or entries
}

// Show gives the effective configuration as YAML, every default written out. It can be loaded again. A value with a
// reference to a secret is shown as it was written, and the password of a proxy as ***.
func (c *Config) Show() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# the effective configuration, from " + oneLine(c.from()) + "; secrets are not shown\n")
	writeMap(&b, c.tree(), "")
	return b.Bytes(), nil
}

// ShowJSON is Show as one JSON document.
func (c *Config) ShowJSON() ([]byte, error) {
	b, err := json.MarshalIndent(c.tree(), "", "  ")
	return append(b, '\n'), err
}

// from says where the values come from.
func (c *Config) from() string {
	if c.File == "" {
		return "the defaults and the command line alone, since no file was found"
	}
	return c.File + " and the defaults"
}

func (c *Config) tree() entries {
	listen := entries{{"proxy", c.proxyListeners()}}
	if len(c.Listen.Admin) > 0 {
		listen = append(listen, entry{"admin", c.adminListeners()})
	}
	if len(c.Listen.Gateway) > 0 {
		listen = append(listen, entry{"gateway", c.gatewayListeners()})
	}
	if len(c.Listen.DNS) > 0 {
		listen = append(listen, entry{"dns", c.dnsListeners()})
	}
	if len(c.Listen.Transparent) > 0 {
		listen = append(listen, entry{"transparent", c.transparentListeners()})
	}
	channels := entries{}
	for _, ch := range c.Channels {
		channels = append(channels, entry{ch.Name, c.channelTree(ch)})
	}
	all := entries{{"listen", listen}}
	var told entries
	if c.DNS.IDServer != "" {
		told = append(told, entry{"id_server", c.text("dns.id_server", c.DNS.IDServer)})
	}
	if c.DNS.VersionBind != "" {
		told = append(told, entry{"version_bind", c.text("dns.version_bind", c.DNS.VersionBind)})
	}
	if len(told) > 0 {
		all = append(all, entry{"dns", told})
	}
	all = append(all, entry{"channels", channels})
	if len(c.Routes) > 0 {
		all = append(all, entry{"routes", c.routesTree()})
	}
	if len(c.Gateway) > 0 {
		all = append(all, entry{"gateway", c.gatewayTree()})
	}
	if !c.ACME.IsZero() {
		all = append(all, entry{"acme", c.acmeTree()})
	}
	if !c.LeakTest.IsZero() {
		all = append(all, entry{"leaktest", c.leakTestTree()})
	}
	if c.Guard != nil {
		all = append(all, entry{"guard", c.guardTree()})
	}
	all = append(all,
		entry{"policy", entries{
			{"plain_http", c.text("policy.plain_http", string(c.Policy.PlainHTTP))},
			{"plain_dns", c.text("policy.plain_dns", string(c.Policy.PlainDNS))},
			{"foreign_resolvers", c.text("policy.foreign_resolvers", string(c.Policy.ForeignResolvers))},
			{"private_targets", c.privateTree()},
			{"client_resolved", c.text("policy.client_resolved", string(c.Policy.ClientResolved))},
		}},
		entry{"exec", entries{{"client_resolved", c.text("exec.client_resolved", string(c.Policy.Contained))}}},
		entry{"limits", c.limitsTree()},
	)
	if c.State != "" {
		all = append(all, entry{"state", c.text("state", c.State)})
	}
	return append(all,
		entry{"log", entries{{"level", c.text("log.level", c.Log.Level)}, {"format", c.text("log.format", c.Log.Format)}, {"names", c.Log.Names}}},
	)
}

// text gives what was written at a path where a secret went into it, and else the value.
func (c *Config) text(path, value string) string {
	if w, ok := c.written[path]; ok {
		return masked(w)
	}
	if w, ok := c.written[single(path)]; ok {
		return masked(w)
	}
	return value
}

func (c *Config) dnsListeners() []any {
	var list []any
	for i, one := range c.Listen.DNS {
		list = append(list, c.listener(fmt.Sprintf("listen.dns[%d]", i), one))
	}
	return list
}

// listener gives the address alone where there is no more to say.
func (c *Config) listener(at string, one DNSListener) any {
	address := c.text(at, c.text(at+".address", one.Text()))
	full := entries{{"address", address}}
	if one.Scheme != "" {
		full = append(full, entry{"tls", c.tlsTree(at+".tls", one.ServerTLS)})
	}
	if one.AllowInsecure {
		full = append(full, entry{"allow_insecure", true})
	}
	if len(full) > 1 {
		return full
	}
	return address
}

// Text gives the address as it is written in a configuration.
func (l DNSListener) Text() string {
	switch l.Scheme {
	case SchemeTLS, SchemeQUIC:
		return l.Scheme + "://" + l.Address.String()
	case SchemeHTTPS:
		return SchemeHTTPS + "://" + l.Address.String() + DoHPath
	}
	return l.Address.String()
}

func (c *Config) channelTree(ch Channel) entries {
	path := "channels." + ch.Name
	var t entries
	if ch.Name != DirectName {
		t = append(t, entry{"over", c.text(path+".over", ch.Over)})
		if ch.Pool != nil {
			t = append(t, entry{"proxy", c.poolTree(ch)})
		}
		if len(ch.Proxies) > 0 {
			t = append(t, entry{"proxy", c.proxiesTree(ch)})
		}
		if ch.WireGuard != nil {
			t = append(t, entry{"wireguard", c.tunnelTree(ch.WireGuard, path+".wireguard")})
		}
		if ch.ResolveAtExit {
			return append(t, entry{"resolve", c.text(path+".resolve", "exit")})
		}
		t = append(t, entry{"resolve", c.text(path+".resolve", "here")})
	}
	var upstreams []any
	for _, s := range ch.Resolver.sources {
		upstreams = append(upstreams, s.tree())
	}
	resolver := entries{{"upstreams", upstreams}}
	if len(ch.Resolver.forward) > 0 {
		resolver = append(resolver, entry{"forward", texts(ch.Resolver.forward, same)})
	}
	var strategy any = c.text(path+".resolver.strategy", ch.Resolver.Strategy.String())
	if n := ch.Resolver.Strategy.Race; n > 0 {
		strategy = entries{{"race", n}}
	}
	resolver = append(resolver, entry{"strategy", strategy}, entry{"dnssec", c.text(path+".resolver.dnssec", string(ch.Resolver.DNSSEC.Mode))})
	if len(ch.Resolver.trust) > 0 {
		resolver = append(resolver, entry{"trust_anchors", texts(ch.Resolver.trust, same)})
	}
	if len(ch.Resolver.negative) > 0 {
		resolver = append(resolver, entry{"negative_anchors", texts(ch.Resolver.negative, same)})
	}
	return append(t, entry{"resolver", append(resolver,
		entry{"timeout", c.text(path+".resolver.timeout", short(ch.Resolver.Timeout))},
		entry{"cache", entries{
			{"size", ch.Resolver.CacheSize},
			{"stale", c.text(path+".resolver.cache.stale", short(ch.Resolver.Stale))},
			{"prefetch", ch.Resolver.Prefetch},
		}},
	)})
}

// same is the text of a text.
func same(_ int, text string) string { return text }

// tree gives one text where that says it all, and else a map.
func (s source) tree() any {
	m := entries{{"url", masked(s.shown.URL)}}
	if len(s.shown.Addresses) > 0 {
		m = append(m, entry{"addresses", texts(s.shown.Addresses, same)})
	}
	if len(s.shown.Pins) > 0 {
		m = append(m, entry{"pins", texts(s.shown.Pins, same)})
	}
	if s.shown.CA != "" {
		m = append(m, entry{"ca", s.shown.CA})
	}
	if s.shown.Name != "" {
		m = append(m, entry{"name", s.shown.Name})
	}
	if s.shown.Relay != "" {
		m = append(m, entry{"relay", s.shown.Relay})
	}
	if s.shown.ECH != "" {
		m = append(m, entry{"ech", s.shown.ECH})
	}
	if len(m) == 1 {
		return m[0].value
	}
	return m
}

func (c *Config) routesTree() []any {
	var list []any
	for i, r := range c.Routes {
		to := texts(r.To, func(j int, p route.Pattern) string { return c.text(fmt.Sprintf("routes[%d].to[%d]", i, j), p.String()) })
		channel := r.Channel
		if r.Refuse {
			channel = RefuseName
		}
		one := entries{{"to", to}}
		if len(r.Users) > 0 {
			one = append(one, entry{"user", texts(r.Users, func(j int, p route.UserPattern) string {
				return c.text(fmt.Sprintf("routes[%d].user[%d]", i, j), p.String())
			})})
		}
		one = append(one, entry{"channel", c.text(fmt.Sprintf("routes[%d].channel", i), channel)})
		if r.Labels.Country != "" {
			one = append(one, entry{"country", c.text(fmt.Sprintf("routes[%d].country", i), r.Labels.Country)})
		}
		if r.Labels.PerRequest {
			one = append(one, entry{"session", c.text(fmt.Sprintf("routes[%d].session", i), PerRequest)})
		} else if r.Labels.Session != "" {
			one = append(one, entry{"session", c.text(fmt.Sprintf("routes[%d].session", i), r.Labels.Session)})
		}
		list = append(list, one)
	}
	return list
}

func (c *Config) limitsTree() entries {
	t := entries{{"connections", c.Limits.Connections}, {"drain", c.text("limits.drain", short(c.Limits.Drain))}}
	var each entries
	if n := c.Limits.PerUser.Connections; n > 0 {
		each = append(each, entry{"connections", n})
	}
	if n := c.Limits.PerUser.NewPerSecond; n > 0 {
		each = append(each, entry{"new_per_second", n})
	}
	if len(each) > 0 {
		t = append(t, entry{"per_user", each})
	}
	return t
}

func (c *Config) privateTree() any {
	const path = "policy.private_targets"
	switch p := c.Policy.PrivateTargets; {
	case p.Allow:
		return c.text(path, string(route.Allow))
	case len(p.Networks) == 0:
		return c.text(path, string(route.Refuse))
	default:
		return texts(p.Networks, func(i int, n netip.Prefix) string { return c.text(fmt.Sprintf("%s[%d]", path, i), n.String()) })
	}
}

func texts[T any](list []T, text func(int, T) string) []any {
	var all []any
	for i, v := range list {
		all = append(all, text(i, v))
	}
	return all
}

// masked hides a password that stands beside references in a text as it was written.
func masked(s string) string {
	start, end := userinfo(s)
	if end <= start {
		return s
	}
	user, password, found := cutOutside(s[start:end], ':')
	if !found || strings.HasPrefix(password, "${") && strings.IndexByte(password, '}') == len(password)-1 {
		return s
	}
	return s[:start] + user + ":***" + s[end:]
}

// cutOutside is strings.Cut at the first c that does not stand inside a reference.
func cutOutside(s string, c byte) (before, after string, found bool) {
	inside := false
	for i := range len(s) {
		switch {
		case strings.HasPrefix(s[i:], "${"):
			inside = true
		case s[i] == '}':
			inside = false
		case s[i] == c && !inside:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// MarshalJSON keeps the order.
func (m entries) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(e.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(e.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// writeMap writes the keys of a map, each on its own line behind indent. The first line is begun already where indent
// follows a dash.
func writeMap(b *bytes.Buffer, m entries, indent string) {
	for i, e := range m {
		if i > 0 || indent == "" || !bytes.HasSuffix(b.Bytes(), []byte("- ")) {
			b.WriteString(indent)
		}
		b.WriteString(scalar(e.key) + ":")
		writeValue(b, e.value, indent)
	}
}

func writeValue(b *bytes.Buffer, v any, indent string) {
	switch v := v.(type) {
	case empty:
		b.WriteString(" {}\n")
	case entries:
		b.WriteByte('\n')
		writeMap(b, v, indent+"  ")
	case []any:
		b.WriteByte('\n')
		for _, item := range v {
			b.WriteString(indent + "  - ")
			if m, ok := item.(entries); ok {
				writeMap(b, m, indent+"    ")
			} else {
				b.WriteString(scalar(item) + "\n")
			}
		}
	default:
		b.WriteString(" " + scalar(v) + "\n")
	}
}

// plain is a text that every YAML reader takes for itself without quotes, also inside a list.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./:@%=+~-]*[A-Za-z0-9_./%=+~-]$|^[A-Za-z_]$`)

func scalar(v any) string {
	s, ok := v.(string)
	if !ok {
		return fmt.Sprint(v)
	}
	if plain.MatchString(s) && !token.IsNeedQuoted(s) {
		return s
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return fmt.Sprintf("%q", s)
	}
	return strings.TrimSpace(b.String())
}
