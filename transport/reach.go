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
	addrs := c.up.Addrs
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
	var none Conn
	return none, worst
}
