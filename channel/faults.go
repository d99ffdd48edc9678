package channel

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"watertight/fault"
	"watertight/wire"
)

// dialFault says in a code why an address could not be reached. A fault that a hop has named already stays.
func dialFault(ctx context.Context, to string, err error) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	code, what := fault.ConnectUnreachable, "could not be reached"
	var timeout net.Error
	switch {
	case errors.Is(err, wire.ErrPlainDNS):
		return fault.New(fault.PolicyForeignResolver, to+" is a plain-text name service", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		code, what = fault.ConnectRefused, "refused the connection"
	case errors.Is(err, syscall.ECONNRESET):
		code, what = fault.ConnectRefused, "reset the connection"
	case errors.Is(ctx.Err(), context.Canceled):
		code, what = fault.ConnectTimeout, "was given up before it answered: whoever asked is gone"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT),
		errors.As(err, &timeout) && timeout.Timeout(), ctx.Err() != nil:
		code, what = fault.ConnectTimeout, "did not answer in time"
	}
	return fault.New(code, to+" "+what, err)
}
