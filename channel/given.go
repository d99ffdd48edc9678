package channel

import (
	"net/netip"
	"sync"
)

// givenMost bounds how many addresses one generation of a channel's [given] remembers.
const givenMost = 16384

// given remembers the addresses that clients were given, in two generations: when the younger is full it becomes
// the elder, and the elder is forgotten.
type given struct {
	most    int // of one generation
	mu      sync.Mutex
	younger map[netip.Addr]struct{}
	elder   map[netip.Addr]struct{}
}

func (g *given) add(addrs []netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range addrs {
		if g.younger == nil || len(g.younger) >= g.most {
			g.elder, g.younger = g.younger, make(map[netip.Addr]struct{})
		}
		g.younger[a.Unmap()] = struct{}{}
	}
}

func (g *given) has(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, young := g.younger[a]
	_, old := g.elder[a]
	return young || old
}
