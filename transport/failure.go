package transport

import (
	"context"
	"errors"
	"net"
	"syscall"

	"watertight/dnswire"
	"watertight/fault"
)

// Failure is why an upstream gave no usable answer. It is shared by all who met it, and must not be changed.
type Failure struct {
	Fault *fault.Error
	// Final says that the upstream did reply, however badly, or that nobody could be asked this: nobody else is.
	Final bool
	// Late is the host that did not answer in time, or "". A message about a question says so, and then names what was
	// asked for.
	Late string

	unsent  bool // the question itself is at fault
	broken  bool // the connection ended under the question, so that a fresh one may still answer it
	spoke   bool // the server said something that ended the handshake
	foreign bool // the fault is the dial function's own, and is not to be dressed up
}

func (f *Failure) Error() string { return f.Fault.Error() }

// Unwrap gives the fault.
func (f *Failure) Unwrap() error { return f.Fault }

// rank orders failures by how much they tell the user: the certificate first, a hop's own fault last, because that
// is kept only where every upstream failed in that way.
func (f *Failure) rank() int {
	switch {
	case f.foreign:
		return 1
	case f.Fault.Code == fault.DNSTimeout:
		return 2
	case f.Fault.Code == fault.ResolverUntrusted:
		return 4
	}
	return 3
}

// Worse gives the more telling of two failures, either of which may be nil.
func Worse(a, b *Failure) *Failure {
	if a == nil || b != nil && b.rank() > a.rank() {
		return b
	}
	return a
}

// who is the upstream, in messages: with the relay, where it is that which was spoken with.
func (c *Client) who() string {
	if c.up.Relay != "" {
		return "the resolver " + c.up.Host + " behind the relay " + c.up.Relay
	}
	return "the resolver " + c.up.Host
}

func (c *Client) unreachable(what string, cause error) *Failure {
	return &Failure{Fault: fault.New(fault.ResolverUnreachable, c.who()+" "+what, cause)}
}

func (c *Client) untrusted(what, hint string, cause error) *Failure {
	f := fault.New(fault.ResolverUntrusted, c.who()+" did not prove who it is: "+what, cause)
	f.Hint = hint
	return &Failure{Fault: f}
}

func (c *Client) timeout(cause error) *Failure {
	return &Failure{Fault: fault.New(fault.DNSTimeout, c.who()+" did not answer in time", cause), Late: c.up.Host}
}

func (c *Client) broke(cause error) *Failure {
	f := c.unreachable("closed the connection", cause)
	f.broken = true
	return f
}

func (c *Client) malformed(cause error) *Failure {
	message := c.who() + " sent a " + cause.Error()
	return &Failure{Fault: fault.New(fault.DNSServFail, message, cause), Final: true}
}

// dialFailure keeps a fault of the dial function as it is, except that "the far side refused" means, here, that the
// resolver did.
func (c *Client) dialFailure(ctx context.Context, err error) *Failure {
	var f *fault.Error
	if errors.As(err, &f) {
		switch f.Code {
		case fault.ConnectRefused:
			return c.unreachable("refused the connection", err)
		case fault.ConnectUnreachable:
			return c.unreachable("cannot be reached", err)
		case fault.ConnectTimeout:
			late := c.timeout(err)
			if f.Hop != "" {
				late.Late = ""
				late.Fault.Message = "the proxy " + f.Hop + " did not connect to " + c.who() + " in time"
				late.Fault.Hint = "the upstream proxy is silent, or cannot reach the resolver"
			}
			return late
		}
		return &Failure{Fault: f, foreign: true}
	}
	if ctx.Err() != nil || isTimeout(err) {
		return c.timeout(err)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return c.unreachable("refused the connection", err)
	}
	return c.unreachable("cannot be reached", err)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

func badQuestion(q dnswire.Question, err error) *Failure {
	return &Failure{Fault: fault.New(fault.BadRequest, fault.OneLine(q.Name)+" cannot be asked for", err), Final: true, unsent: true}
}

func closed() *Failure {
	return &Failure{Fault: fault.New(fault.NotReady, "the resolver of this channel is closed", net.ErrClosed), Final: true}
}
