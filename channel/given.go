package channel

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Bounds of what [given] remembers: addresses of one generation of a channel's, and names of one address, of which the latest stay.
const (
	givenMost  = 16384
	givenNames = 8
)

// given remembers the addresses that clients were given, and for which names, in two generations: when the younger is
// full it becomes the elder, and the elder is forgotten.
type given struct {
	most    int // of one generation
	mu      sync.Mutex
	younger map[netip.Addr][]string // the latest name last
	elder   map[netip.Addr][]string
}

// add remembers addresses that were given out for a question about qname.
func (g *given) add(addrs []netip.Addr, qname string) {
	host := subject(qname)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range addrs {
		a = a.Unmap()
		names, ok := g.younger[a]
		if !ok {
			names = g.elder[a]
			if g.younger == nil || len(g.younger) >= g.most {
				g.elder, g.younger = g.younger, make(map[netip.Addr][]string)
			}
		}
		g.younger[a] = latest(names, host)
	}
}

// latest puts a name last, and drops the first where there are too many. It leaves names as it is.
func latest(names []string, host string) []string {
	if n := len(names); n > 0 && names[n-1] == host {
		return names // the common case
	}
	next := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == host })
	next = append(next, host)
	return next[max(0, len(next)-givenNames):]
}

// subject is the host that a question is about: the labels before it name a service of it (RFC 8552, RFC 9460).
func subject(qname string) string {
	for strings.HasPrefix(qname, "_") {
		_, qname, _ = strings.Cut(qname, ".")
	}
	return qname
}

func (g *given) has(a netip.Addr) bool { return len(g.names(a)) > 0 }

// names gives the names for which an address was given out, the latest last.
func (g *given) names(a netip.Addr) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if names, ok := g.younger[a]; ok {
		return names
	}
	return g.elder[a]
}
