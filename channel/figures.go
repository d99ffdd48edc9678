package channel

import "watertight/resolve"

// ResolverStats tells how the resolver does, those of all partitions included; false where the exit resolves. How the
// upstreams are is told of the channel's own.
func (c *Channel) ResolverStats() (resolve.Stats, bool) {
	s, ok := c.ownStats()
	if ok && c.parts != nil {
		s = c.parts.stats(s)
	}
	return s, ok
}

func (c *Channel) ownStats() (resolve.Stats, bool) {
	if c.resolver == nil {
		return resolve.Stats{}, false
	}
	return c.resolver.Stats(), true
}

// Flush empties the cache, and says how much it held. Connections to the resolver are left, and TLS sessions and
// failures forgotten. What was given out to clients stays given out: they may be about to come back with it. So it is with
// every partition. A tunnel leaves by another flow from then on: it may be another network.
func (c *Channel) Flush() (entries, octets int) {
	if c.parts != nil && c.pool != nil {
		c.pool.Forgive()
	}
	if c.chain != nil {
		c.chain.Forget()
	}
	if c.through != nil {
		c.through.Forget()
	}
	if c.resolver != nil {
		entries, octets = c.resolver.Flush()
	}
	if c.tunnel != nil && c.parts != nil {
		c.tunnel.Roam()
	}
	if c.parts != nil {
		e, o := c.parts.flush()
		entries, octets = entries+e, octets+o
	}
	return entries, octets
}
