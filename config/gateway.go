package config

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"watertight/client"
	"watertight/gate"
	"watertight/name"
	"watertight/route"
)

// Limits of the gateway.
const (
	maxEntries     = 256
	maxFields      = 64   // of one entry
	maxFieldValue  = 8192 // octets, references filled in
	maxGatewayPath = 512  // octets
	maxCalled      = 64   // names of a listener, and pages
)

// GenericPath begins the paths of entries with hosts.
const GenericPath = "/https/"

// Values of `http3` of an entry.
const (
	HTTP3Auto = "auto" // where the origin offers it and the channel carries datagrams
	HTTP3Off  = "off"
)

// GatewayListener is a socket on which the gateway is served.
type GatewayListener struct {
	Listener
	ServerTLS
	Access
	Hosts   []string // names of it beside its address, as HOST or HOST:PORT, in lower case
	Origins []string // web pages that may use it, as https://HOST[:PORT], in lower case
}

// Gateway is one entry: where the paths below Path lead, or the generic form with Hosts.
type Gateway struct {
	Path    string          // begins and ends in a slash; empty where Hosts are
	To      name.Target     // the origin
	ToPath  string          // begins and ends in a slash
	Hosts   []route.Pattern // of the generic form
	Channel string          // empty: the routes decide
	User    client.Identity // whom the requests are for
	Headers []Header        // by name
	NoHTTP3 bool            // HTTP/3 is never spoken to the origin
	CAFile  string          // where CAs was read from
	CAs     *x509.CertPool  // nil: those whom the system trusts
}

// Header is a field that requests get. Value may be a secret: it is never printed.
type Header struct{ Name, Value string }

// gatewayListener reads one address, or a map with what belongs to it.
func (l *loader) gatewayListener(n *node, path string) GatewayListener {
	var g GatewayListener
	one := l.guarded(n, "listen.gateway", path, exampleGateway, func(_ *ProxyListener, key string, n *node, path string) {
		switch key {
		case "hosts":
			g.Hosts = l.called(n, path, parseCalled, "write HOST or HOST:PORT, as clients write it in the base URL")
		case "origins":
			g.Origins = l.called(n, path, parseOrigin, "write the page's origin, such as https://app.example.com: a scheme, a host and a port if it is not the scheme's own")
		}
	})
	g.Listener, g.ServerTLS, g.Access = one.Listener, one.ServerTLS, one.Access
	return g
}

// Rules are what the listener asks of its clients.
func (l GatewayListener) Rules() *gate.Rules { return rules(l.Access, l.ServerTLS) }

// Base begins the URLs of a listener that is at an address: with clear text, or https.
func (l GatewayListener) Base(at netip.AddrPort) string {
	if l.Speaks() {
		return "https://" + at.String()
	}
	return "http://" + at.String()
}

// exampleGateway is where a gateway would listen.
const exampleGateway = "127.0.0.1:8088"

// called reads names that a field of a request is compared with.
func (l *loader) called(n *node, path string, parse func(string) (string, bool), mend string) (all []string) {
	if !l.fewer(n.pos, path, len(n.list), maxCalled) {
		return nil
	}
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		v, ok := parse(t.value)
		if !ok {
			l.problem(n.pos, fmt.Sprintf("`%s` cannot be `%s`", path, l.say(path, t.value)), mend)
		}
		all = append(all, v)
	})
	return all
}

// parseCalled reads HOST or HOST:PORT, in the form in which a Host field is compared.
func parseCalled(s string) (string, bool) {
	if h, err := name.ParseHost(s); err == nil {
		if a, ok := h.Addr(); ok && a.Is6() {
			return "[" + a.String() + "]", true
		}
		return h.String(), true
	}
	t, err := name.Parse(s)
	return t.String(), err == nil
}

// parseOrigin reads an origin as browsers write it (RFC 6454, section 6.2).
func parseOrigin(s string) (string, bool) {
	u, err := url.Parse(strings.ToLower(s))
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return "", false
	}
	return u.Scheme + "://" + u.Host, true
}

// gateway reads the entries.
func (l *loader) gateway(n *node, c *Config) {
	if n.kind != kindList && n.kind != kindMap {
		if n.kind != kindWrong {
			l.problem(n.pos, "`gateway` is not a list", "write `- {path: /openai/, to: \"https://api.openai.com/\"}` below it, one line for each entry")
		}
		return
	}
	n = asList(n)
	if !l.fewer(n.pos, "gateway", len(n.list), maxEntries) {
		return
	}
	l.items(n, "gateway", func(n *node, path string) {
		g := Gateway{ToPath: "/"}
		isMap := l.fields(n, "gateway", path, func(key string, n *node, path string) { l.gatewayKey(key, n, path, &g) })
		if isMap {
			l.checkEntry(&g, n.pos, path)
		}
		c.Gateway = append(c.Gateway, g)
	})
}

func (l *loader) gatewayKey(key string, n *node, path string, g *Gateway) {
	switch key {
	case "hosts":
		l.gatewayHosts(n, path, g)
		return
	case "headers":
		l.headers(n, "gateway.headers", path, &g.Headers)
		return
	case "http3":
		var mode string
		choice(l, n, path, keyAt("gateway.http3"), &mode)
		g.NoHTTP3 = mode == HTTP3Off
		return
	}
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	switch key {
	case "path":
		if g.Path, ok = folder(t.value); !ok {
			l.problem(n.pos, fmt.Sprintf("`%s` is no path of the gateway: `%s`", path, l.say(path, t.value)), "write letters, digits and - . _ ~ between slashes, such as /openai/")
			g.Path = ""
		} else if strings.HasPrefix(g.Path, "/~") {
			l.problem(n.pos, fmt.Sprintf("`%s` cannot begin with /~: there a client says who it is", path), "take another path")
			g.Path = ""
		}
	case "to":
		l.origin(t, path, g)
	case "channel":
		g.Channel = t.value
	case "user":
		var err error
		if g.User, err = client.Parse(t.value); err != nil {
			l.foreign(t, path, "a user name", err, "write a name such as alice, or alice-session-k3v9-country-us")
		}
	case "ca":
		g.CAFile = l.relative(t.value)
		var err error
		if g.CAs, err = l.authorities(t.value, g.CAFile); err != nil {
			l.problem(n.pos, "the authorities of the origin cannot be used: "+err.Error(), "give a PEM file with the certificates of those who certify the origin, and nothing else")
		}
	}
}

// folder gives a path with a slash at its end, where it is one that every program reads alike.
func folder(s string) (string, bool) {
	if !strings.HasSuffix(s, "/") {
		s += "/"
	}
	if !strings.HasPrefix(s, "/") || len(s) > maxGatewayPath {
		return "", false
	}
	for _, segment := range strings.Split(s[1:], "/") {
		if segment == "." || segment == ".." || strings.ContainsFunc(segment, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~", r)
		}) {
			return "", false
		}
	}
	return s, !strings.Contains(s, "//")
}

// origin reads https://HOST[:PORT]/PATH/.
func (l *loader) origin(t text, path string, g *Gateway) {
	const mend = "write https://HOST[:PORT]/PATH/, such as https://api.openai.com/"
	rest, secure := strings.CutPrefix(t.value, "https://")
	if !secure {
		what := "`%s` is no https:// URL"
		if strings.HasPrefix(t.value, "http://") {
			what = "`%s` is an http:// URL, and the requests would leave in clear text"
		}
		l.problem(t.pos, fmt.Sprintf(what, path), mend)
		return
	}
	authority, base, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, ':'); i < 0 || strings.HasSuffix(authority, "]") {
		authority += ":443"
	}
	target, err := name.Parse(authority)
	if err != nil {
		l.foreign(t, path, "an origin", err, mend)
		return
	}
	toPath, ok := folder("/" + base)
	if !ok {
		l.problem(t.pos, fmt.Sprintf("the path of `%s` cannot be put before others", path), "write letters, digits and - . _ ~ between slashes, and neither a query nor a fragment")
		return
	}
	g.To, g.ToPath = target, toPath
}

// gatewayHosts reads whom the generic form reaches.
func (l *loader) gatewayHosts(n *node, path string, g *Gateway) {
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		p, err := route.ParsePattern(t.value)
		switch {
		case err != nil:
			l.foreign(t, path, "a pattern", err, "write a name, \"*.example.com\", .example.com, an IP address or a network such as 10.0.0.0/8")
		case t.value == "*":
			l.problem(n.pos, fmt.Sprintf("`%s` would let the gateway reach every host: any program of this host could use it as an open relay", path), "list the hosts that are meant, such as \"*.example.com\"")
		default:
			g.Hosts = append(g.Hosts, p)
		}
	})
}

// notSet are fields that are about one connection, or that say where a request goes and how long it is.
var notSet = []string{
	"Connection", "Content-Length", "Expect", "Host", "Http2-Settings", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// headers reads fields. What is wrong with a value is told without the value.
func (l *loader) headers(n *node, row, path string, all *[]Header) {
	if n.kind == kindMap && !l.fewer(n.pos, path, len(n.pairs), maxFields) {
		return
	}
	l.names(n, row, path, func(key, n *node, path string) {
		canonical := textproto.CanonicalMIMEHeaderKey(key.text)
		t, ok := l.text(n, path)
		switch {
		case !isToken(key.text):
			l.problem(key.pos, fmt.Sprintf("`%s` is no name of a field", clip(key.text)), "write letters, digits and hyphens, such as Authorization")
			return
		case slices.Contains(notSet, canonical):
			l.problem(key.pos, fmt.Sprintf("`%s` is the program's own affair, and cannot be set", canonical), "remove the line")
			return
		case slices.ContainsFunc(*all, func(h Header) bool { return h.Name == canonical }):
			l.problem(key.pos, fmt.Sprintf("the field `%s` is written twice", canonical), "keep one of the two")
			return
		case !ok:
			return
		case len(t.value) > maxFieldValue || strings.ContainsFunc(t.value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			l.problem(n.pos, fmt.Sprintf("the value of `%s` has a control character, or more than %d octets", path, maxFieldValue), "write one line; see that the file of a secret has just one")
			return
		}
		*all = append(*all, Header{canonical, t.value})
	})
	slices.SortFunc(*all, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
}

// isToken says whether a text can be the name of a field (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// checkEntry looks at what the keys of one entry promise about each other. A key that is written but wrong is not missing.
func (l *loader) checkEntry(g *Gateway, at pos, path string) {
	generic := l.stands(path + ".hosts")
	for _, key := range []string{"path", "to"} {
		switch stands := l.stands(path + "." + key); {
		case generic && stands:
			l.problem(l.at(path+"."+key), fmt.Sprintf("`%s` would not be used: an entry with `hosts` is for "+GenericPath+"HOST/PATH", path+"."+key), "remove it, or remove `hosts`")
		case !generic && !stands:
			l.problem(at, fmt.Sprintf("the entry has no `%s`", key), "write `path` and `to`, such as {path: /openai/, to: \"https://api.openai.com/\"}; or `hosts`")
		}
	}
	if generic && l.stands(path+".headers") {
		l.problem(l.at(path+".headers"), "`headers` of an entry with `hosts` would go to every host that is listed", "write an entry with `path` and `to` for the origin that is to get them")
	}
	if strings.HasPrefix(g.Path, GenericPath) {
		l.problem(l.at(path+".path"), "paths below "+GenericPath+" are for entries with `hosts`", "take another path")
	}
}

// checkGateway looks at what the entries promise about each other and about the rest. It says whether their channels exist.
func (l *loader) checkGateway(c *Config, names []string) bool {
	sound := true
	switch {
	case len(c.Gateway) == 0 && len(c.Listen.Gateway) > 0:
		l.problem(l.at("listen.gateway"), "the gateway has no entry, and would refuse everything", "write `gateway: [{path: /openai/, to: \"https://api.openai.com/\"}]`, or remove the key")
	case len(c.Gateway) > 0 && !l.stands("listen.gateway"):
		l.problem(l.at("gateway"), "nobody could reach the gateway: `listen.gateway` is not written", "write `listen: {gateway: "+exampleGateway+"}`, or remove the key")
	}
	first := map[string]int{}
	for i, g := range c.Gateway {
		path := fmt.Sprintf("gateway[%d]", i)
		if before, twice := first[g.Path]; twice && g.Path != "" {
			l.problem(l.at(path+".path"), fmt.Sprintf("the path `%s` is taken already by line %d", g.Path, l.at(fmt.Sprintf("gateway[%d].path", before)).line), "give each entry its own path")
		} else {
			first[g.Path] = i
		}
		if g.Channel != "" && !slices.Contains(names, g.Channel) {
			sound = false
			l.problem(l.at(path+".channel"), fmt.Sprintf("there is no channel `%s`", l.say(path+".channel", g.Channel)), orNearest(g.Channel, names, ""))
		}
	}
	return sound
}
