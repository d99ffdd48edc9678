package resolve

import (
	"context"
	"net/netip"
	"slices"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
)

// Lookup gives the addresses of a host, IPv6 first. Both families are asked for at once; one that fails does not hide
// what the other found. An address is its own answer. The error is a [*fault.Error].
func (r *Resolver) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	type result struct {
		addrs []netip.Addr
		err   error
	}
	four := make(chan result, 1)
	go func() {
		addrs, err := r.LookupFamily(ctx, host, dnswire.A)
		four <- result{addrs, err}
	}()
	v6, err6 := r.LookupFamily(ctx, host, dnswire.AAAA)
	v4 := <-four
	if all := append(v6, v4.addrs...); len(all) > 0 {
		return all, nil
	}
	return nil, moreTelling(host, err6, v4.err)
}

// moreTelling gives that of two errors which says more: a name that does not exist before a failure, and a failure
// before a type that is not there.
func moreTelling(host string, a, b error) error {
	rank := func(err error) int {
		switch fault.Of(err).Code {
		case fault.DNSNXDomain:
			return 2
		case fault.DNSNoData:
			return 0
		}
		return 1
	}
	if fa := fault.Of(a); fa.Code == fault.DNSNoData && fault.Of(b).Code == fault.DNSNoData && fa.Hint == "" {
		fa.Message = host + " has no address record"
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// LookupFamily gives the addresses of a host in one family; t is A or AAAA. From the cache it costs little. The error
// is a [*fault.Error].
func (r *Resolver) LookupFamily(ctx context.Context, host string, t dnswire.Type) ([]netip.Addr, error) {
	if e := r.known(dnswire.Question{Name: host, Type: t}); e != nil {
		return r.outcome(e)
	}
	q, literal, err := hostQuestion(host, t)
	if err != nil {
		return nil, err
	}
	if literal.IsValid() {
		return []netip.Addr{literal}, nil
	}
	return r.outcome(r.entry(ctx, q))
}

// Cached is LookupFamily for what is known already: from the cache, or of special-use names. It says false where an
// upstream would have to be asked.
func (r *Resolver) Cached(host string, t dnswire.Type) (addrs []netip.Addr, err error, known bool) { //nolint:revive // the error is an outcome
	e := r.known(dnswire.Question{Name: host, Type: t})
	if e == nil {
		if q, literal, err := hostQuestion(host, t); err == nil && !literal.IsValid() {
			e = r.special(q)
		}
	}
	if e == nil {
		return nil, nil, false
	}
	addrs, err = r.outcome(e)
	return addrs, err, true
}

// hostQuestion gives the question for a host, or the address that the host is.
func hostQuestion(host string, t dnswire.Type) (dnswire.Question, netip.Addr, error) {
	if t != dnswire.A && t != dnswire.AAAA {
		return dnswire.Question{}, netip.Addr{}, fault.New(fault.BadRequest, t.String()+" is not a type of addresses", nil)
	}
	h, err := name.ParseHost(host)
	if err != nil {
		return dnswire.Question{}, netip.Addr{}, fault.New(fault.BadRequest, fault.OneLine(host)+": "+err.Error(), err)
	}
	if a, ok := h.Addr(); ok {
		if a.Is4() != (t == dnswire.A) {
			return dnswire.Question{}, netip.Addr{}, fault.New(fault.DNSNoData, host+" is an address of the other family", nil)
		}
		return dnswire.Question{}, a, nil
	}
	canonical, _ := h.Name()
	return dnswire.Question{Name: canonical, Type: t}, netip.Addr{}, nil
}

// outcome is what an entry means to one who wants addresses.
func (r *Resolver) outcome(e *entry) ([]netip.Addr, error) {
	if e.fault != nil {
		return nil, copied(e.fault)
	}
	if len(e.addrs) == 0 {
		a, err := r.cache.unpacked(e)
		if err != nil {
			return nil, unreadable(err)
		}
		f := Verdict(a)
		if f == nil { // records of the type, and none of them an address that can be read
			f = fault.New(fault.DNSServFail, shown(e.q.Name)+" has address records that hold no address", nil)
		}
		return nil, f
	}
	return slices.Clone(e.addrs), nil
}
