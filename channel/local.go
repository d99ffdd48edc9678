package channel

import (
	"context"
	"net/netip"

	"watertight/dnswire"
	"watertight/resolve"
)

// Peek is [resolve.Resolver.Peek]: it gives what is in the channel's cache, and false where nothing is. Nobody is asked.
func (c *Channel) Peek(q dnswire.Question) (*dnswire.Answer, bool) {
	if c.resolver == nil {
		return nil, false
	}
	return c.resolver.Peek(q)
}

// Local gives what c knows of a host without asking anybody: the addresses of a special-use name, or the fault that it is to
// whoever wants to connect there. It says false for a name that an upstream or the exit would be asked for. Nothing is sent.
func (c *Channel) Local(host string) (addrs []netip.Addr, err error, local bool) { //nolint:revive // the error is an outcome
	if c.resolver == nil {
		err = resolve.Local(host)
		return nil, err, err != nil
	}
	if !c.resolver.IsLocal(dnswire.Question{Name: host, Type: dnswire.A}) {
		return nil, nil, false
	}
	addrs, err = c.resolver.Lookup(context.Background(), host)
	return addrs, err, true
}
