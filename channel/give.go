package channel

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"watertight/dnswire"
)

// LookupGiven is Lookup for a client that will come back with one of the addresses: each is checked, and remembered
// as given out.
func (c *Channel) LookupGiven(ctx context.Context, host string, check Check) ([]netip.Addr, error) {
	return c.lookupGiven(ctx, netip.Addr{}, host, check)
}

func (c *Channel) lookupGiven(ctx context.Context, from netip.Addr, host string, check Check) ([]netip.Addr, error) {
	found, err := c.Lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	allowed, refusal := allow(found, check)
	if len(allowed) == 0 {
		return nil, refusal
	}
	c.given.add(c.recipient(from), allowed, host)
	return allowed, nil
}

// Gave says whether addr was given out to a client by this channel's resolver, of late.
func (c *Channel) Gave(addr netip.Addr) bool { return c.given.has(addr.Unmap()) }

// GivenFor gives the names for which addr was given out to clients, of late, the latest last. There are eight at most.
func (c *Channel) GivenFor(addr netip.Addr) []string {
	return slices.Clone(c.given.names(addr.Unmap()))
}

// ExchangeGiven is Exchange for a client that will come back with one of the addresses in the answer, or with one that a record
// of it hints at. Where check refuses one of them the answer is refused; else they are remembered as given out. The
// addresses of a special-use name that is answered here, such as localhost, are no server's word: they stand.
func (c *Channel) ExchangeGiven(ctx context.Context, q dnswire.Question, check Check) (*dnswire.Answer, error) {
	return c.exchangeGiven(ctx, netip.Addr{}, q, check)
}

func (c *Channel) exchangeGiven(ctx context.Context, from netip.Addr, q dnswire.Question, check Check) (*dnswire.Answer, error) {
	a, err := c.Exchange(ctx, q)
	if err == nil {
		err = c.give(from, a, q, check)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// BeginGiven is ExchangeGiven for one who does not wait, as [resolve.Resolver.Begin] has it: it says false where it did nothing.
func (c *Channel) BeginGiven(until time.Time, q dnswire.Question, check Check, then func(*dnswire.Answer, error)) bool {
	return c.beginGiven(until, netip.Addr{}, q, check, then)
}

func (c *Channel) beginGiven(until time.Time, from netip.Addr, q dnswire.Question, check Check, then func(*dnswire.Answer, error)) bool {
	if c.resolver == nil || c.unfit != nil || !c.Ready() {
		return false
	}
	return c.resolver.Begin(until, q, func(a *dnswire.Answer, err error) {
		if err == nil {
			err = c.give(from, a, q, check)
		}
		if err != nil {
			a = nil
		}
		then(a, err)
	})
}

// CachedGiven is ExchangeGiven for an answer that is known already. It never waits, and says false where there is more
// to do or to say than to give it.
func (c *Channel) CachedGiven(q dnswire.Question, check Check) (*dnswire.Answer, bool) {
	return c.cachedGiven(netip.Addr{}, q, check)
}

func (c *Channel) cachedGiven(from netip.Addr, q dnswire.Question, check Check) (*dnswire.Answer, bool) {
	if c.resolver == nil {
		return nil, false
	}
	a, ok := c.resolver.ExchangeCached(q)
	if !ok || c.give(from, a, q, check) != nil {
		return nil, false
	}
	return a, true
}

// give remembers the addresses of an answer as given out to who asked from an address, unless check refuses one. Hints of HTTPS and SVCB records are
// addresses too: clients connect to them without asking for others (RFC 9460, section 7.3).
func (c *Channel) give(from netip.Addr, a *dnswire.Answer, q dnswire.Question, check Check) error {
	addrs := append(a.Addrs(), a.Hints()...)
	for _, addr := range addrs {
		if err := check(addr); err != nil && !c.IsLocal(q) {
			return err
		}
	}
	if len(addrs) > 0 {
		c.given.add(c.recipient(from), addrs, q.Name)
	}
	return nil
}

// recipient is who has a share of what is remembered as given out: a client by its address. A partition is one client's.
func (c *Channel) recipient(from netip.Addr) netip.Addr {
	if c.parts == nil {
		return netip.Addr{}
	}
	return from
}
