package channel

import (
	"container/list"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"watertight/share"
)

// Bounds of what [given] remembers.
const (
	givenMost   = 32_768 // addresses of a channel's, each counted for every client that was given it
	givenAnswer = 256    // addresses of one answer, the first ones
	givenNames  = 8      // of one address, the latest ones
)

// given remembers the addresses that clients were given, and for which names. Where there are as many as may be, the client that
// was given the most forgets the one that it was given the longest ago.
type given struct {
	most int // see givenMost

	mu      sync.Mutex
	gifts   map[netip.Addr]*gift
	clients map[netip.Addr]*recipient // by their addresses; the zero Addr for those who are not told apart
	book    *share.Book[netip.Addr]
}

// gift is an address that somebody was given.
type gift struct {
	names   []string // the latest last
	holders int      // clients that were given it
}

// recipient is a client.
type recipient struct {
	order *list.List // of its addresses, the one that it was given last at the end
	at    map[netip.Addr]*list.Element
}

// add remembers addresses that a client was given in an answer to a question about qname.
func (g *given) add(client netip.Addr, addrs []netip.Addr, qname string) {
	host := subject(qname)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.book == nil {
		g.gifts, g.clients, g.book = map[netip.Addr]*gift{}, map[netip.Addr]*recipient{}, share.NewBook[netip.Addr](g.most)
	}
	for _, a := range addrs[:min(len(addrs), givenAnswer)] {
		a = a.Unmap()
		if g.give(client, a) {
			one := g.gifts[a]
			one.names = latest(one.names, host)
		}
	}
}

// give lets a client have an address. It says false where nobody has to give up another one for it. The caller holds g.mu.
func (g *given) give(client, a netip.Addr) bool {
	if r := g.clients[client]; r != nil && r.at[a] != nil {
		r.order.MoveToBack(r.at[a])
		return true
	}
	if g.book.Full() {
		giver, ok := g.book.Giver(client)
		if !ok {
			return g.gifts[a] != nil // others have it
		}
		g.forget(giver)
	}
	r := g.clients[client]
	if r == nil {
		r = &recipient{order: list.New(), at: map[netip.Addr]*list.Element{}}
		g.clients[client] = r
	}
	r.at[a] = r.order.PushBack(a)
	g.book.Take(client)
	if g.gifts[a] == nil {
		g.gifts[a] = &gift{}
	}
	g.gifts[a].holders++
	return true
}

// forget drops the address that a client was given the longest ago. The caller holds g.mu.
func (g *given) forget(client netip.Addr) {
	r := g.clients[client]
	a := r.order.Remove(r.order.Front()).(netip.Addr)
	delete(r.at, a)
	if r.order.Len() == 0 {
		delete(g.clients, client)
	}
	g.book.Give(client)
	if g.gifts[a].holders--; g.gifts[a].holders == 0 {
		delete(g.gifts, a)
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
	if one := g.gifts[a]; one != nil {
		return one.names
	}
	return nil
}
