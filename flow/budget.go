package flow

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"watertight/share"
)

// Budget bounds the flows of many tables together. Where there are as many as may be, a client that has fewer than another gets
// one of the client's that has the most: the one that was used the longest ago, which ends. A client that has its share gives up
// one of its own that was not used for a while.
type Budget struct {
	mu     sync.Mutex
	book   *share.Book[string]
	places map[string]map[*Place]struct{} // by client
}

// AtAddress is the client at an address, for Options.Client. One with IPv6 has a whole network of 64 bits (RFC 4291, section 2.5.4).
func AtAddress(a netip.Addr) string {
	if a = a.Unmap().WithZone(""); a.Is6() && !a.IsLoopback() {
		if network, err := a.Prefix(64); err == nil {
			return "address " + network.String()
		}
	}
	return "address " + a.String()
}

// Whose is who has a share of the flows: a user, or without one the client at an address.
func Whose(user string, a netip.Addr) string {
	if user != "" {
		return "user " + user
	}
	return AtAddress(a)
}

// Place is a flow's place in a budget.
type Place struct {
	client string
	end    context.CancelFunc
	used   func() time.Time
	gone   bool // it was given up for another
}

// NewBudget gives a budget of so many flows.
func NewBudget(most int) *Budget {
	return &Budget{book: share.NewBook[string](most), places: map[string]map[*Place]struct{}{}}
}

// Used is how many flows there are. Those that were given up for others and are about to end are not counted.
func (b *Budget) Used() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.book.Held()
}

// Take gives a place to a client's flow, which end ends and which used says when it was used last; nil where there is none for it.
func (b *Budget) Take(client string, end context.CancelFunc, used func() time.Time) *Place {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.book.Full() {
		giver, ok := b.book.Giver(client)
		if !ok || !b.giveUp(giver, giver == client) {
			return nil
		}
	}
	p := &Place{client: client, end: end, used: used}
	if b.places[client] == nil {
		b.places[client] = map[*Place]struct{}{}
	}
	b.places[client][p] = struct{}{}
	b.book.Take(client)
	return p
}

// giveUp ends the flow of a client that was used the longest ago. With idle it has to be one that was not used for a while. The
// caller holds b.mu.
func (b *Budget) giveUp(client string, idle bool) bool {
	var oldest *Place
	var at time.Time
	for p := range b.places[client] {
		if used := p.used(); oldest == nil || used.Before(at) {
			oldest, at = p, used
		}
	}
	if oldest == nil || idle && time.Since(at) < freshFor {
		return false
	}
	b.drop(oldest)
	oldest.gone = true
	oldest.end()
	return true
}

// GiveBack is called at the end of a flow, whatever ended it.
func (b *Budget) GiveBack(p *Place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !p.gone {
		b.drop(p)
	}
}

func (b *Budget) drop(p *Place) {
	b.book.Give(p.client)
	delete(b.places[p.client], p)
	if len(b.places[p.client]) == 0 {
		delete(b.places, p.client)
	}
}
