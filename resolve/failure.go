package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"watertight/dnswire"
	"watertight/fault"
)

// failure is why an upstream gave no usable answer.
type failure struct {
	fault *fault.Error
	// final says that the upstream did reply, however badly: nobody else is asked.
	final bool
	// unsent says that the question itself is at fault.
	unsent bool
	// broken says that the connection ended under the question, so that a fresh one may still answer it.
	broken bool
	// late is the host that did not answer in time, or "".
	late string
	// foreign says that the fault is the dial function's own, and is not to be dressed up.
	foreign bool
}

func (f *failure) Error() string { return f.fault.Error() }

func (u *client) unreachable(what string, cause error) *failure {
	return &failure{fault: fault.New(fault.ResolverUnreachable, "the resolver "+u.Host+" "+what, cause)}
}

func (u *client) untrusted(what, hint string, cause error) *failure {
	f := fault.New(fault.ResolverUntrusted, "the resolver "+u.Host+" did not prove who it is: "+what, cause)
	f.Hint = hint
	return &failure{fault: f}
}

func (u *client) timeout(cause error) *failure {
	return &failure{fault: fault.New(fault.DNSTimeout, "the resolver "+u.Host+" did not answer in time", cause), late: u.Host}
}

func (u *client) broke(cause error) *failure {
	f := u.unreachable("closed the connection", cause)
	f.broken = true
	return f
}

func (u *client) malformed(cause error) *failure {
	message := "the resolver " + u.Host + " sent a " + cause.Error()
	return &failure{fault: fault.New(fault.DNSServFail, message, cause), final: true}
}

// dialFailure keeps a fault of the dial function as it is, except that "the far side refused" means, here, that the
// resolver did.
func (u *client) dialFailure(ctx context.Context, err error) *failure {
	var f *fault.Error
	if errors.As(err, &f) {
		switch f.Code {
		case fault.ConnectRefused:
			return u.unreachable("refused the connection", err)
		case fault.ConnectUnreachable:
			return u.unreachable("cannot be reached", err)
		case fault.ConnectTimeout:
			late := u.timeout(err)
			if f.Hop != "" {
				late.late = ""
				late.fault.Message = "the proxy " + f.Hop + " did not connect to the resolver " + u.Host + " in time"
				late.fault.Hint = "the upstream proxy is silent, or cannot reach the resolver"
			}
			return late
		}
		return &failure{fault: f, foreign: true}
	}
	if ctx.Err() != nil || isTimeout(err) {
		return u.timeout(err)
	}
	if refused(err) {
		return u.unreachable("refused the connection", err)
	}
	return u.unreachable("cannot be reached", err)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// rank orders failures by how much they tell the user: the certificate first, a hop's own fault last, because that
// is kept only where every upstream failed in that way.
func (f *failure) rank() int {
	switch {
	case f.foreign:
		return 1
	case f.fault.Code == fault.DNSTimeout:
		return 2
	case f.fault.Code == fault.ResolverUntrusted:
		return 4
	}
	return 3
}

// worse gives the more telling of two failures, either of which may be nil.
func worse(a, b *failure) *failure {
	if a == nil || b != nil && b.rank() > a.rank() {
		return b
	}
	return a
}

// unanswered gives the fault for a reply whose response code is an error, or nil.
func unanswered(a *dnswire.Answer, host string) *fault.Error {
	if a.RCode == dnswire.NoError || a.RCode == dnswire.NXDomain {
		return nil
	}
	text := dnswire.RCodeText(a.RCode)
	if len(a.EDE) > 0 {
		text += ": " + a.EDE[0].Name()
	}
	what := "could not resolve"
	if a.RCode == dnswire.Refused {
		what = "refuses to resolve"
	}
	f := fault.New(fault.DNSServFail, fmt.Sprintf("the resolver %s %s %s: %s", host, what, shown(a.Name), text), nil)
	if len(a.EDE) > 0 && a.EDE[0].Text != "" {
		f.Err = fmt.Errorf("the resolver says: %q", a.EDE[0].Text)
	}
	return f
}

// Verdict gives the fault that a negative answer means to one who wanted records: DNS_NXDOMAIN, DNS_NODATA or, for
// another response code, DNS_SERVFAIL. It gives nil for an answer with records.
func Verdict(a *dnswire.Answer) *fault.Error {
	if f := unanswered(a, "that was asked"); f != nil {
		return f
	}
	if !a.Negative() {
		return nil
	}
	var f *fault.Error
	if a.RCode == dnswire.NXDomain {
		f = fault.New(fault.DNSNXDomain, shown(a.Name)+" does not exist", nil)
	} else {
		f = fault.New(fault.DNSNoData, shown(a.Name)+" has no "+a.Type.String()+" record", nil)
		if a.Type != dnswire.A && a.Type != dnswire.AAAA {
			f.Hint = "the name exists but has no record of that type"
		}
	}
	// A special-use name that was forwarded got its answer from a server, which says nothing of the kind.
	if l, ok := special(a.Question); ok && slices.Contains(a.EDE, dnswire.EDE{Code: edeSynthesized, Text: l.hint}) {
		f.Message = shown(a.Name) + " is not looked up anywhere"
		f.Hint = l.hint
	}
	return f
}

// shown gives a name as a message shows it.
func shown(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// about gives the failure as the fault of a question, the caller's own.
func (f *failure) about(name string) *fault.Error {
	c := copied(f.fault)
	if f.late != "" {
		c.Message = "the resolver " + f.late + " gave no answer about " + shown(name) + " in time"
	}
	return c
}

// givenUp is what a caller gets whose own context ended first.
func givenUp(ctx context.Context, name string) *fault.Error {
	return fault.New(fault.DNSTimeout, "no answer about "+shown(name)+" in time", context.Cause(ctx))
}

func closed() *fault.Error {
	return fault.New(fault.NotReady, "the resolver of this channel is closed", net.ErrClosed)
}

// oneLine cuts a text of the far side to what fits into a message.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 60)]
}
