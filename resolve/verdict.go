package resolve

import (
	"context"
	"fmt"
	"net"
	"slices"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/transport"
)

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
	f.RCode = dnswire.RCodeText(a.RCode)
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

// about gives a failure as the fault of a question, the caller's own.
func about(f *transport.Failure, name string) *fault.Error {
	c := copied(f.Fault)
	if f.Late != "" {
		c.Message = "the resolver " + f.Late + " gave no answer about " + shown(name) + " in time"
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

func badQuestion(q dnswire.Question, err error) *fault.Error {
	return fault.New(fault.BadRequest, fault.OneLine(q.Name)+" cannot be asked for", err)
}

// unreadable is what an answer becomes that was kept and cannot be read again: a fault of the program.
func unreadable(err error) *fault.Error {
	return fault.New(fault.Internal, "an answer that was kept cannot be read again", err)
}
