package channel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
)

// Times of Happy Eyeballs (RFC 8305, section 8).
const (
	resolutionDelay = 50 * time.Millisecond  // how long the first IPv4 address waits for an IPv6 one
	attemptDelay    = 250 * time.Millisecond // between the starts of two attempts
)

// race resolves the name and connects to whichever of its addresses answers first (RFC 8305), all inside c.
func (c *Channel) race(ctx context.Context, t name.Target, check Check) (net.Conn, error) {
	host, _ := t.Host().Name()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the losers' attempts; an established connection does not depend on it
	r := &race{c: c, host: host, port: t.Port(), check: check, answers: make(chan family, 2), results: make(chan attempt)}
	defer r.abandon()
	for _, typ := range c.families() {
		addrs, err, known := c.resolver.Cached(host, typ)
		if known {
			r.take(family{typ, addrs, err})
			continue
		}
		r.pending++
		go func() {
			addrs, err := c.resolver.LookupFamily(ctx, host, typ)
			r.answers <- family{typ, addrs, err}
		}()
	}
	return r.run(ctx)
}

// family is the answer to one of the two questions about a name.
type family struct {
	typ   dnswire.Type
	addrs []netip.Addr
	err   error
}

// attempt is the end of one attempt to connect.
type attempt struct {
	conn net.Conn
	err  error
}

// race is one run of Happy Eyeballs. One goroutine owns it; the others speak to it over its channels.
type race struct {
	c       *Channel
	host    string
	port    uint16
	check   Check
	answers chan family
	results chan attempt

	pending int          // families still being looked up
	v6, v4  []netip.Addr // addresses not tried yet
	lastV6  bool         // the last attempt was for IPv6
	tried   int
	active  int // attempts under way

	lookupErr error // the most telling failure of a look-up
	refusal   error // the first refusal by check
	dialErr   error // the first failure of an attempt
}

// take books an answer.
func (r *race) take(f family) {
	if f.err != nil {
		r.lookupErr = worse(r.lookupErr, f.err)
		return
	}
	allowed, refusal := allow(f.addrs, r.check)
	if refusal != nil && r.refusal == nil {
		r.refusal = refusal
	}
	if f.typ == dnswire.AAAA {
		r.v6 = allowed
	} else {
		r.v4 = allowed
	}
}

// next takes the next address to try: families alternate, IPv6 first (RFC 8305, section 4).
func (r *race) next() (netip.AddrPort, bool) {
	if r.tried >= maxAttempts {
		return netip.AddrPort{}, false
	}
	from := &r.v6
	if len(r.v6) == 0 || r.lastV6 && len(r.v4) > 0 {
		from = &r.v4
	}
	if len(*from) == 0 {
		return netip.AddrPort{}, false
	}
	a := (*from)[0]
	*from = (*from)[1:]
	r.lastV6 = from == &r.v6
	r.tried++
	return netip.AddrPortFrom(a, r.port), true
}

func (r *race) run(ctx context.Context) (net.Conn, error) {
	if r.pending == 0 && len(r.v6)+len(r.v4) == 1 {
		to, _ := r.next()
		return r.c.attempt(ctx, to) // the common case needs no goroutine
	}
	var delay <-chan time.Time // when the first, or the next, attempt may start
	mayStart := r.pending == 0
	for {
		if len(r.v6) > 0 && r.tried == 0 || r.pending == 0 && r.tried == 0 {
			mayStart = true
		}
		if !mayStart && delay == nil && len(r.v4) > 0 {
			delay = time.After(resolutionDelay)
		}
		if mayStart {
			if to, ok := r.next(); ok {
				mayStart = false
				delay = time.After(attemptDelay)
				r.start(ctx, to)
			} else if r.active == 0 && r.pending == 0 {
				return nil, r.verdict()
			}
		}
		select {
		case f := <-r.answers:
			r.pending--
			r.take(f)
		case <-delay:
			delay, mayStart = nil, true
		case a := <-r.results:
			r.active--
			if a.err == nil {
				return a.conn, nil
			}
			if r.dialErr == nil {
				r.dialErr = a.err
			}
			mayStart = true
		case <-ctx.Done():
			return nil, r.expired(ctx)
		}
	}
}

func (r *race) start(ctx context.Context, to netip.AddrPort) {
	r.active++
	go func() {
		conn, err := r.c.attempt(ctx, to)
		r.results <- attempt{conn, err}
	}()
}

// abandon lets the goroutines of a decided race end, and closes what they still bring home.
func (r *race) abandon() {
	for n := r.active; n > 0; n-- {
		go func() {
			if late := <-r.results; late.err == nil {
				late.conn.Close()
			}
		}()
	}
}

// verdict is the failure to report when nothing is left to try.
func (r *race) verdict() error {
	for _, err := range []error{r.dialErr, r.refusal, r.lookupErr} {
		var f *fault.Error
		if err != nil && (!errors.As(err, &f) || f.Code != fault.DNSNoData) {
			return err
		}
	}
	return r.c.noAddress(r.host)
}

// expired is the failure to report when the time is up, or the client has gone.
func (r *race) expired(ctx context.Context) error {
	if r.dialErr != nil {
		return r.dialErr
	}
	if r.active > 0 {
		return fault.New(fault.ConnectTimeout, "the destination did not answer in time", ctx.Err())
	}
	return fault.New(fault.DNSTimeout, "the name was not resolved in time", ctx.Err())
}

// worse picks the failure that tells more: that a name does not exist, then that a look-up failed, then that one
// family has no record.
func worse(a, b error) error {
	rank := func(err error) int {
		var f *fault.Error
		switch {
		case err == nil:
			return 0
		case errors.As(err, &f) && f.Code == fault.DNSNoData:
			return 1
		case errors.As(err, &f) && f.Code == fault.DNSNXDomain:
			return 3
		}
		return 2
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// allow gives the addresses that pass, and the refusal of the first that does not.
func allow(found []netip.Addr, check Check) ([]netip.Addr, error) {
	var refusal error
	allowed := slices.Clone(found)
	allowed = slices.DeleteFunc(allowed, func(a netip.Addr) bool {
		err := check(a)
		if err != nil && refusal == nil {
			refusal = err
		}
		return err != nil
	})
	return allowed, refusal
}
