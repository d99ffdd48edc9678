package transport

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"watertight/fault"
)

// stagger is how long an address of an upstream has before the next one is tried beside it.
const stagger = 250 * time.Millisecond

// dial connects to an address of the upstream: the only way to get a bare connection.
func (c *Client) dial(ctx context.Context, to netip.AddrPort) (net.Conn, *Failure) {
	conn, err := c.options.Way.Dial(ctx, to)
	if err != nil {
		return nil, c.dialFailure(ctx, err)
	}
	fault.Reached(ctx)
	return conn, nil
}

// reach gives a connection to the upstream: to whichever of its addresses is the first for which connect gives one,
// which it does only after the server proved who it is. They are started one after the other, the one that served
// last first.
func reach[Conn io.Closer](ctx context.Context, c *Client, connect func(context.Context, netip.AddrPort) (Conn, *Failure)) (Conn, *Failure) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn Conn
		fail *Failure
		i    int
	}
	var none Conn
	addrs, fail := c.addresses(ctx)
	if fail != nil {
		return none, fail
	}
	results := make(chan result, len(addrs))
	first := int(c.lastGood.Load())
	started, ended := 0, 0
	start := func() {
		i := (first + started) % len(addrs)
		started++
		c.wg.Go(func() {
			conn, fail := connect(ctx, addrs[i])
			results <- result{conn, fail, i}
		})
	}
	start()
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	var worst *Failure
	for ended < started {
		select {
		case <-timer.C:
			if started < len(addrs) {
				start()
				timer.Reset(stagger)
			}
		case r := <-results:
			ended++
			if r.fail == nil {
				c.lastGood.Store(int32(r.i))
				c.wg.Go(func() { // the losers; cancel ends them
					for ; ended < started; ended++ {
						if late := <-results; late.fail == nil {
							late.conn.Close()
						}
					}
				})
				return r.conn, nil
			}
			worst = Worse(worst, r.fail)
			if started < len(addrs) && ctx.Err() == nil {
				start()
				timer.Reset(stagger)
			}
		}
	}
	return none, worst
}

// maxAddresses bounds how many addresses of an upstream are tried that is known by its name.
const maxAddresses = 16

// addresses gives where the upstream is, now: an upstream that is known by its name is looked up in the channel underneath each
// time that a connection is made, and that channel's cache knows for how long it is so.
func (c *Client) addresses(ctx context.Context) ([]netip.AddrPort, *Failure) {
	if !c.up.Named.IsValid() {
		return c.up.Addrs, nil
	}
	host, _ := c.up.Named.Host().Name()
	found, err := c.options.Way.Lookup(ctx, host)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, c.timeout(err)
	case err != nil:
		return nil, c.unreachable("is not found by the channel underneath: "+fault.Of(err).Message, err)
	case len(found) == 0:
		return nil, c.unreachable("is not found by the channel underneath", nil)
	}
	var addrs []netip.AddrPort
	for _, a := range found[:min(len(found), maxAddresses)] {
		addrs = append(addrs, netip.AddrPortFrom(a, c.up.Named.Port()))
	}
	return addrs, nil
}
