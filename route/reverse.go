package route

import (
	"context"
	"net/netip"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
)

// ResolvePTR gives the name of the address that is the request's target, asked of the resolver of the channel that the rules
// give the address. It reports the request. The error is a [*fault.Error].
func (t *Table) ResolvePTR(ctx context.Context, r Request) (string, error) {
	started := time.Now()
	addr, ok := r.Target.Host().Addr()
	if !ok {
		return "", fault.New(fault.BadRequest, "the target is no address", nil)
	}
	d := t.decide(r)
	found, err := "", d.refusal
	if err == nil {
		found, err = pointer(ctx, d, addr)
	}
	return found, t.report(r, d, started, err)
}

func pointer(ctx context.Context, d decision, addr netip.Addr) (string, error) {
	q := dnswire.Question{Name: dnswire.ReverseName(addr.Unmap()), Type: dnswire.PTR}
	answer, err := d.part.Exchange(ctx, q)
	if err != nil {
		return "", err
	}
	for _, r := range answer.Final() {
		if r.Type != dnswire.PTR {
			continue
		}
		if h, err := name.ParseHost(r.Host); err == nil {
			return h.String(), nil
		}
	}
	return "", fault.New(fault.DNSNoData, "the address has no name", nil)
}
