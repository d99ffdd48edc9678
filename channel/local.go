package channel

import (
	"context"
	"net/netip"

	"watertight/dnswire"
	"watertight/resolve"
)

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
