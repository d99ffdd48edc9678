package gateway

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"watertight/client"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
	"watertight/route"
)

// GenericPrefix begins the path of the generic form, which goes on with HOST[:PORT] and the path of the origin.
const GenericPrefix = "/https/"

// Way is how an origin is reached, and asked for. Its errors are [*fault.Error].
type Way interface {
	// Dial connects to a server of the request's target in the entry's channel, if the policy allows both, and reports the
	// request. The server is the target itself, or what its records lead to.
	Dial(ctx context.Context, r route.Request, at name.Target) (net.Conn, error)
	// DialPacket is Dial for a flow of datagrams.
	DialPacket(ctx context.Context, r route.Request, at name.Target) (net.Conn, error)
	// CarriesPackets says whether that channel carries datagrams.
	CarriesPackets(r route.Request) bool
	// Ask asks the resolver of that very channel, if the policy allows the target. A nil answer means that the channel
	// has none.
	Ask(ctx context.Context, r route.Request, q dnswire.Question) (*dnswire.Answer, error)
}

// Field is a field that every request of an entry has, in place of what the client sent of that name. Its value may be a
// secret.
type Field struct{ Name, Value string }

// Entry says where requests go: those for the paths below Path to To, or those of the generic form to Hosts.
type Entry struct {
	Path   string          // begins and ends in a slash; empty: the generic form
	To     name.Target     // of the origin
	ToPath string          // begins and ends in a slash
	Hosts  []route.Pattern // of the generic form
	Fields []Field
	// NoHTTP3 keeps HTTP/3 away from the origin.
	NoHTTP3 bool
	Roots   *x509.CertPool // who certifies the origin; nil: those whom the system trusts
	// Channel is the name of the channel in events; empty where the routes choose.
	Channel string
	// Identity is whom the requests are for; zero: who the client is.
	Identity client.Identity
	Way      Way
}

func (e *Entry) validate() error {
	generic := e.Path == ""
	switch {
	case e.Way == nil:
		return errors.New("gateway: an entry needs a way to its origin")
	case generic && (len(e.Hosts) == 0 || e.To.IsValid() || len(e.Fields) > 0):
		return errors.New("gateway: an entry of the generic form needs hosts, and has neither an origin nor fields")
	case strings.HasPrefix(e.Path, CredentialsPrefix):
		return fmt.Errorf("gateway: a path that begins with %s says who the client is", CredentialsPrefix)
	case strings.HasPrefix(e.Path, GenericPrefix):
		return fmt.Errorf("gateway: the path %q is of the generic form", e.Path)
	case !generic && (len(e.Hosts) > 0 || !e.To.IsValid() || !isFolder(e.Path) || !isFolder(e.ToPath)):
		return fmt.Errorf("gateway: the entry for %q needs an origin, paths that begin and end in a slash, and no hosts", e.Path)
	}
	return nil
}

func isFolder(path string) bool { return strings.HasPrefix(path, "/") && strings.HasSuffix(path, "/") }

// Table is the entries of one configuration, with the connections to their origins. The connections are used for nothing
// else, and for nothing after Close.
type Table struct {
	entries []*Entry // with a path, the longest first
	generic []*Entry // in their order

	mu     sync.Mutex
	closed bool
	pools  map[poolKey]*pool
	heard  map[poolKey]*known // of origins with a pool, and of those that had one
}

// poolKey is what requests must share to share connections. Two entries share none: their identities, and what they set,
// are not to be linked.
type poolKey struct {
	entry  *Entry
	target name.Target
	// identity is whom the requests are for: the sessions and cookies of one are not another's.
	identity client.Identity
}

// NewTable checks the entries.
func NewTable(entries []Entry) (*Table, error) {
	t := &Table{pools: map[poolKey]*pool{}, heard: map[poolKey]*known{}}
	for i := range entries {
		e := entries[i]
		if err := e.validate(); err != nil {
			return nil, err
		}
		if e.Path == "" {
			t.generic = append(t.generic, &e)
			continue
		}
		if slices.ContainsFunc(t.entries, func(o *Entry) bool { return o.Path == e.Path }) {
			return nil, fmt.Errorf("gateway: two entries for %q", e.Path)
		}
		t.entries = append(t.entries, &e)
	}
	slices.SortStableFunc(t.entries, func(a, b *Entry) int { return cmp.Compare(len(b.Path), len(a.Path)) })
	return t, nil
}

// match is where a request goes.
type match struct {
	entry  *Entry
	target name.Target
	base   string // of the gateway's paths, with a slash at its end
	toBase string // of the origin's
	rest   string // the path below both, as it was written
	// identity is whom the request is for.
	identity client.Identity
	secure   bool // the client speaks TLS to the gateway
}

// originForm is the path and the query that the origin is asked for, their octets as the client wrote them.
func (m match) originForm(query string, asked bool) string {
	if !asked {
		return m.toBase + m.rest
	}
	return m.toBase + m.rest + "?" + query
}

// Locate gives the origin to which a path of the gateway leads, the entry for it, and for whom such a request of the client
// id is: for the user of the entry, else for who the path says that the client is, else for id. No proof is asked for. The
// error is a [*fault.Error].
func (t *Table) Locate(path string, id client.Identity) (name.Target, *Entry, client.Identity, error) {
	said, path, f := cutCredentials(path)
	if f != nil {
		return name.Target{}, nil, id, f
	}
	if said != "" {
		c, f := ofPath(said)
		if f != nil {
			return name.Target{}, nil, id, f
		}
		named, err := client.Parse(c.Username)
		if err != nil {
			return name.Target{}, nil, id, fault.New(fault.BadRequest, err.Error(), err)
		}
		id = named
	}
	m, f := t.match(path)
	if f != nil {
		return m.target, nil, id, f
	}
	if m.entry.Identity != (client.Identity{}) {
		id = m.entry.Identity
	}
	return m.target, m.entry, id, nil
}

// match finds the entry for a path as it was written: the longest path that it is below.
func (t *Table) match(path string) (match, *fault.Error) {
	if strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return match{}, &fault.Error{
			Code: fault.BadRequest, Message: "the path has an octet that is not printable ASCII",
			Hint: "percent-encode it",
		}
	}
	if hasDotSegment(path) {
		return match{}, &fault.Error{
			Code: fault.BadRequest, Message: "the path has a segment . or .., which could lead elsewhere than it seems",
			Hint: "write the path without it",
		}
	}
	if rest, ok := strings.CutPrefix(path, GenericPrefix); ok && len(t.generic) > 0 {
		return t.matchGeneric(rest) // of the other entries only one for every path is for this one too
	}
	for _, e := range t.entries {
		if rest, ok := below(e.Path, path); ok {
			return match{entry: e, target: e.To, base: e.Path, toBase: e.ToPath, rest: rest}, nil
		}
	}
	return match{}, &fault.Error{
		Code: fault.PolicyRoute, Message: "no entry of the gateway is for this path",
		Hint: "add one under `gateway` in the configuration, or mend the client's base URL",
	}
}

// below gives what is left of a path below an entry's. A base URL is often written with one slash too many, or too few.
func below(base, path string) (rest string, ok bool) {
	if path == strings.TrimSuffix(base, "/") {
		return "", true
	}
	rest, ok = strings.CutPrefix(path, base)
	return strings.TrimLeft(rest, "/"), ok
}

func (t *Table) matchGeneric(path string) (match, *fault.Error) {
	authority, rest, _ := strings.Cut(path, "/")
	target, err := parseAuthority(authority)
	if err != nil {
		return match{}, &fault.Error{
			Code: fault.BadRequest, Message: "behind " + GenericPrefix + " stands no host: " + err.Error(),
			Hint: "write " + GenericPrefix + "HOST/PATH or " + GenericPrefix + "HOST:PORT/PATH",
		}
	}
	for _, e := range t.generic {
		if slices.ContainsFunc(e.Hosts, func(p route.Pattern) bool { return p.Match(target.Host()) }) {
			return match{entry: e, target: target, base: GenericPrefix + authority + "/", toBase: "/", rest: strings.TrimLeft(rest, "/")}, nil
		}
	}
	return match{target: target}, &fault.Error{
		Code: fault.PolicyRoute, Message: target.Host().String() + " is not listed for the gateway", Target: target.String(),
		Hint: "add it to `hosts` of an entry under `gateway` if it may be reached",
	}
}

// httpsPort is the port of an https:// URL without one.
const httpsPort = 443

// parseAuthority reads HOST or HOST:PORT.
func parseAuthority(s string) (name.Target, error) {
	if i := strings.LastIndexByte(s, ':'); i < 0 || strings.HasSuffix(s, "]") {
		s += ":" + portText(httpsPort)
	}
	return name.Parse(s)
}

// authority is the Host field for a target: the port only where it is not the scheme's own.
func authority(t name.Target) string { return strings.TrimSuffix(t.String(), ":"+portText(httpsPort)) }

func portText(port uint16) string { return strconv.Itoa(int(port)) }

// hasDotSegment says whether a segment of a path is . or .., also in percent form (RFC 3986, section 6.2.2.2). A backslash
// is a slash to some servers, and so is one in percent form.
func hasDotSegment(path string) bool {
	plain := strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/", `\`, "/").Replace(path)
	for s := range strings.SplitSeq(plain, "/") {
		s, _, _ = strings.Cut(s, ";") // parameters of a segment, which some servers drop first
		if s == "." || s == ".." {
			return true
		}
	}
	return false
}

// pool gives the connections of a match.
func (t *Table) pool(m match) *pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := poolKey{m.entry, m.target, m.identity}
	p := t.pools[key]
	if p == nil {
		p = &pool{origin: newOrigin(m, t.known(key)), closed: t.closed}
		p.onEmpty = func() { t.forget(key, p) }
		t.pools[key] = p
	}
	return p
}

// maxHeard bounds the origins of which something is remembered.
const maxHeard = 4096

// known gives what is remembered of an origin, which outlives its connections. t.mu is held.
func (t *Table) known(key poolKey) *known {
	k := t.heard[key]
	if k == nil {
		for old := range t.heard {
			if len(t.heard) < maxHeard {
				break
			}
			delete(t.heard, old) // by chance: it is heard again
		}
		k = &known{}
		t.heard[key] = k
	}
	return k
}

// origin gives the origin of a match, for a connection of its own.
func (t *Table) origin(m match) *origin {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := poolKey{m.entry, m.target, m.identity}
	if p := t.pools[key]; p != nil {
		return p.origin
	}
	return newOrigin(m, t.known(key))
}

// forget drops a pool that has nothing, so that the hosts of the generic form do not pile up.
func (t *Table) forget(key poolKey, p *pool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pools[key] == p && p.unused() {
		delete(t.pools, key)
	}
}

// Drop leaves every connection, with the sessions of TLS: none is used for another request, and one that carries nothing
// is closed. It is for a change of the network.
func (t *Table) Drop() { t.leave(false) }

// Close is Drop at the end of the table: connections that are still made are left after their request.
func (t *Table) Close() { t.leave(true) }

func (t *Table) leave(closed bool) {
	t.mu.Lock()
	t.closed = t.closed || closed
	old := t.pools
	t.pools = map[poolKey]*pool{}
	t.heard = map[poolKey]*known{} // another network may carry what this one does not
	t.mu.Unlock()
	for _, p := range old {
		p.close()
	}
}
