package transport

import (
	"context"
	"crypto/tls"
	"net/netip"
	"time"
)

// http3First is how long HTTP/3 has before HTTP/2 is tried beside it.
const http3First = 250 * time.Millisecond

// open makes a connection: over HTTP/3 where the upstream said that it speaks it, and over HTTP/2 beside that where
// HTTP/3 does not come about. Both are to the same addresses, and prove the same.
func (d *doh) open(ctx context.Context) (link, *Failure) {
	port := d.secure.c.notice.http3()
	if port == 0 || d.over3 == nil {
		return d.open2(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		link  link
		fail  *Failure
		three bool
	}
	results := make(chan result, 2)
	pending := 0
	start := func(three bool, open func(context.Context) (link, *Failure)) {
		pending++
		d.secure.c.wg.Go(func() {
			l, fail := open(ctx)
			results <- result{l, fail, three}
		})
	}
	start(true, func(ctx context.Context) (link, *Failure) { return d.open3(ctx, port) })
	timer := time.NewTimer(http3First)
	defer timer.Stop()
	two := false
	var worst *Failure
	for pending > 0 {
		select {
		case <-timer.C:
			if !two {
				two = true
				start(false, d.open2)
			}
		case r := <-results:
			pending--
			if r.fail == nil {
				d.secure.c.notice.tried(r.three)
				d.secure.c.wg.Go(func() { // the loser; cancel ends it
					for ; pending > 0; pending-- {
						if late := <-results; late.fail == nil {
							late.link.close()
						}
					}
				})
				return r.link, nil
			}
			worst = Worse(worst, r.fail)
			if !two && ctx.Err() == nil {
				two = true
				start(false, d.open2)
			}
		}
	}
	return nil, worst
}

// open3 connects over HTTP/3, to a port of the upstream's addresses.
func (d *doh) open3(ctx context.Context, port uint16) (link, *Failure) {
	return d.over3.openBy(ctx, func(ctx context.Context, to netip.AddrPort, config *tls.Config) (*quicConn, *Failure) {
		return d.over3.tryQUIC(ctx, netip.AddrPortFrom(to.Addr(), port), config)
	})
}

// forget drops the sessions of both.
func (d *doh) forget() {
	d.secure.forget()
	if d.over3 != nil {
		d.over3.forget()
	}
}

// upgrade connects over HTTP/3, which the upstream has just said that it speaks, and gives the connection the place of
// those over HTTP/2. Where that fails they stay.
func (c *Client) upgrade() {
	d, ok := c.opener.(*doh)
	port := c.notice.http3()
	if !ok || d.over3 == nil || port == 0 {
		return
	}
	era := c.links.now()
	ctx, cancel := context.WithTimeout(c.ctx, c.options.Timeout)
	defer cancel()
	l, fail := d.open3(ctx, port)
	if c.ctx.Err() != nil && fail != nil {
		return
	}
	c.notice.tried(fail == nil)
	if fail == nil {
		c.links.supersede(l, era)
	}
}

// now counts flushes.
func (p *links) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.era
}

// supersede puts a connection that was begun in an era in the place of all others: they are closed with the last
// question on them.
func (p *links) supersede(l link, era uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.era != era {
		p.c.wg.Go(l.close)
		return
	}
	p.leave()
	p.add(l)
	p.wake()
}
