package resolve_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/resolve"
	"watertight/upstream"
)

const serverName = "dns.provider.example"

var (
	first  = netip.MustParseAddr("198.18.0.1")
	second = netip.MustParseAddr("198.18.0.2")
	third  = netip.MustParseAddr("198.18.0.3")

	both = []upstream.Kind{upstream.DoT, upstream.DoH}

	zone = dnstest.Zone{
		"api.shop.example. 300 A 192.0.2.1",
		"api.shop.example. 60 AAAA 2001:db8::1",
		"four.shop.example. 300 A 192.0.2.4",
		"www.shop.example. 30 CNAME api.shop.example.",
		"once.shop.example. 0 A 192.0.2.9",
		"ever.shop.example. 2147483647 A 192.0.2.8",
		"text.shop.example. 300 TXT hello",
		"one.shop.example. 300 A 192.0.2.11",
		"two.shop.example. 300 A 192.0.2.12",
		". 3600 NS a.root.example.",
	}
)

// rig is an in-memory internet with resolvers on it.
type rig struct {
	t    testing.TB
	net  dnstest.Net
	ca   *dnstest.CA
	sink *sink
	// fail, where set, is what the dial function gives instead of dialling.
	fail error
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return &rig{t: t, ca: dnstest.NewCA(), sink: &sink{}}
}

func (g *rig) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if g.fail != nil {
		return nil, g.fail
	}
	return g.net.DialAddr(ctx, to)
}

func port(k upstream.Kind) uint16 {
	if k == upstream.DoH {
		return 443
	}
	return 853
}

// serve starts a resolver at an address with the rig's ordinary certificate, or with the one in tweak.
func (g *rig) serve(k upstream.Kind, at netip.Addr, h dnstest.Handler, tweak ...tweak) *dnstest.Server {
	cert := g.ca.Issue([]string{serverName}, []netip.Addr{first})
	l := g.net.Listen(netip.AddrPortFrom(at, port(k)))
	var s *dnstest.Server
	if k == upstream.DoH {
		s = dnstest.ServeDoH(l, cert, h, tweak...)
	} else {
		s = dnstest.ServeDoT(l, cert, h, tweak...)
	}
	g.t.Cleanup(func() { s.Close() })
	return s
}

func (g *rig) caFile() string { return caFile(g.t, g.ca) }

func caFile(t testing.TB, ca *dnstest.CA) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// spec describes an upstream of the rig.
func (g *rig) spec(k upstream.Kind, at ...netip.Addr) upstream.Spec {
	s := upstream.Spec{URL: string(k) + "://" + serverName, CA: g.caFile()}
	for _, a := range at {
		s.Addresses = append(s.Addresses, a.String())
	}
	return s
}

func build(t testing.TB, s upstream.Spec) upstream.Upstream {
	t.Helper()
	u, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (g *rig) upstream(k upstream.Kind, at ...netip.Addr) upstream.Upstream {
	return build(g.t, g.spec(k, at...))
}

func (g *rig) resolver(o resolve.Options, ups ...upstream.Upstream) *resolve.Resolver {
	g.t.Helper()
	o.Upstreams, o.Sink, o.Channel = ups, g.sink, "direct"
	if o.CacheEntries == 0 {
		o.CacheEntries = 1000
	}
	r, err := resolve.New(o, g.dial)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { r.Close() })
	return r
}

// sink remembers every event.
type sink struct {
	event.Discard
	mu      sync.Mutex
	lookups []event.Lookup
}

func (s *sink) Lookup(l *event.Lookup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookups = append(s.lookups, *l)
}

func (s *sink) all() []event.Lookup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]event.Lookup(nil), s.lookups...)
}

type tweak = tlsTweak

// inBothKinds runs f in a bubble for DoT and for DoH.
func inBothKinds(t *testing.T, f func(t *testing.T, k upstream.Kind)) {
	for _, k := range both {
		t.Run(string(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, k) })
		})
	}
}

func wantAddrs(t *testing.T, r *resolve.Resolver, host, want string) {
	t.Helper()
	got, err := r.Lookup(t.Context(), host)
	var texts []string
	for _, a := range got {
		texts = append(texts, a.String())
	}
	if err != nil || strings.Join(texts, " ") != want {
		t.Errorf("Lookup(%s) = %v, %v; want %s", host, texts, err, want)
	}
}

func lookupA(t *testing.T, r *resolve.Resolver, host string) error {
	t.Helper()
	_, err := r.LookupFamily(t.Context(), host, dnswire.A)
	return err
}

func wantFault(t *testing.T, err error, code fault.Code, part string) *fault.Error {
	t.Helper()
	f, ok := err.(*fault.Error)
	if !ok {
		t.Fatalf("error %v, want a fault %s", err, code)
	}
	if f.Code != code || !strings.Contains(f.Message, part) {
		t.Errorf("fault %s %q (%v), want %s with %q", f.Code, f.Message, f.Err, code, part)
	}
	if strings.ContainsAny(f.Message, "\n\r") || len(f.Message) > 200 {
		t.Errorf("message %q does not fit on a status line", f.Message)
	}
	return f
}
