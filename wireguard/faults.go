package wireguard

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"

	"watertight/fault"
)

// label is the peer, in messages.
func (f *flow) label() string { return "the WireGuard peer " + f.target.String() }

const silentHint = "check the endpoint, and the keys of both ends: a peer of WireGuard says nothing to one that it does not know"

// unanswered is the fault of a peer that no session is begun with. It says why, as far as that is known.
func (f *flow) unanswered() error {
	f.mu.Lock()
	why := f.why
	f.mu.Unlock()
	if errors.Is(why, syscall.ECONNREFUSED) {
		return fault.New(fault.HopRefused, f.label()+" cannot be reached: nothing listens there", why)
	}
	if why != nil {
		known := fault.Of(why)
		what := ""
		switch known.Code {
		case fault.DNSNXDomain:
			what = " does not exist"
		case fault.DNSNoData:
			what = " has no address"
		case fault.DNSTimeout, fault.DNSServFail, fault.DNSBogus:
			what = " could not be resolved"
		case fault.ConnectRefused, fault.ConnectTimeout, fault.ConnectUnreachable, fault.Internal:
			what = " cannot be reached"
		default:
			return why // it is about neither the peer nor its name
		}
		return fault.New(fault.HopRefused, f.label()+what, why)
	}
	return &fault.Error{Code: fault.HopRefused, Message: f.label() + " did not answer the handshake", Hint: silentHint}
}

// silent is the fault of an address that could not be dialled behind the peer; where the peer has fallen silent meanwhile,
// it is the peer's.
func (f *flow) silent(ctx context.Context, to netip.AddrPort, err error) error {
	f.mu.Lock()
	gone := f.asked >= silentAfter
	f.mu.Unlock()
	if at := dialFault(ctx, to, err); !gone || fault.Of(at).Code != fault.ConnectTimeout || errors.Is(ctx.Err(), context.Canceled) {
		return at
	}
	return f.unanswered()
}

// dialFault says in a code why an address inside the tunnel could not be dialled.
func dialFault(ctx context.Context, to netip.AddrPort, err error) error {
	code, what := fault.ConnectUnreachable, "cannot be reached through the tunnel"
	switch {
	case errors.Is(err, syscall.ENOBUFS):
		return fault.New(fault.Limit, "the tunnel has no more ports to give", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		code, what = fault.ConnectRefused, "refused the connection"
	case errors.Is(err, syscall.ECONNRESET):
		code, what = fault.ConnectRefused, "reset the connection"
	case errors.Is(ctx.Err(), context.Canceled):
		code, what = fault.ConnectTimeout, "was given up before it answered: whoever asked is gone"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), ctx.Err() != nil:
		code, what = fault.ConnectTimeout, "did not answer in time"
	}
	return fault.New(code, to.String()+" "+what, err)
}
