package resolve_test

import (
	"strings"
	"sync"
	"testing"

	"watertight/dnswire"
	"watertight/event"
	"watertight/lab/dnsrig"
	"watertight/resolve"
	"watertight/upstream"
)

const (
	doh = upstream.DoH
	dot = upstream.DoT
)

var first, second, third = dnsrig.First, dnsrig.Second, dnsrig.Third

// rig is an in-memory internet whose resolvers are asked by Resolvers.
type rig struct {
	*dnsrig.Rig
	sink *sink
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return &rig{dnsrig.New(t), &sink{}}
}

func (g *rig) resolver(t testing.TB, o resolve.Options, ups ...upstream.Upstream) *resolve.Resolver {
	t.Helper()
	o.Upstreams, o.Sink, o.Channel = ups, g.sink, "direct"
	if o.CacheOctets == 0 {
		o.CacheOctets = 1 << 20
	}
	r, err := resolve.New(o, g.Way())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
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
