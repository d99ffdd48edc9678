package dns

import (
	"context"
	"net/netip"

	"watertight/dnswire"
	"watertight/fault"
)

// Authority answers for a zone of its own, as an authoritative name server does. A door has one in the place of its
// [Handler].
//
//  1. It hears all that a query shows of who asks. RD is not looked at, and RA is not set.
//  2. It gives the reply, or nil where nothing is to be answered: over UDP, TCP and TLS that is silence.
//  3. It returns when ctx ends. It may be called from many goroutines.
type Authority interface {
	Answer(ctx context.Context, a Arrival) *Reply
}

// Arrival is a query for an [Authority]. Nothing of it is to be changed.
type Arrival struct {
	Client
	Query
	Spelled string       // the name as it was asked, in its case and without a dot at its end
	EDNS    bool         // there is an OPT record
	UDPSize uint16       // as the OPT record says, at least 512
	Cookie  bool         // there is a cookie option (RFC 7873)
	Compact bool         // CO (RFC 9824, section 5.1)
	Subnet  netip.Prefix // of the client (RFC 7871); not valid where none is said
}

// Reply is what an [Authority] says.
type Reply struct {
	dnswire.Reply
	Authoritative bool // AA
	// Truncated sends who asks by UDP to TCP; nothing else is said then. Over other transports it means nothing.
	Truncated bool
}

// arrival is what the authority hears of a. It says false where the client subnet is none.
func (a *asking) arrival() (Arrival, bool) {
	out := Arrival{
		Client: a.client, Query: a.query(), Spelled: a.Spelled(), EDNS: a.EDNS, Cookie: a.Cookie != nil, Compact: a.Compact,
	}
	if a.EDNS {
		out.UDPSize = a.UDPSize
	}
	if a.Subnet == nil {
		return out, true
	}
	subnet, err := dnswire.ParseSubnet(a.Subnet)
	out.Subnet = subnet
	return out, err == nil
}

// notOurs answers what neither a handler nor an authority is ever asked: other classes, and types that stand for an operation.
func (d *Door) notOurs(dst []byte, a *asking) ([]byte, bool) {
	switch {
	case a.Class == dnswire.ClassCH:
		return d.chaos(dst, a), true
	case a.Class != dnswire.ClassIN:
		return d.reject(dst, a, dnswire.Refused, edeNotSupported, "only class IN is served"), true
	case a.Type == typeNXNAME:
		return d.reject(dst, a, dnswire.FormErr, edeInvalidType, ""), true
	case !a.Type.Askable():
		return d.reject(dst, a, dnswire.Refused, edeNotSupported, "that type is an operation which is not served"), true
	}
	return dst, false
}

// hear asks the authority, and appends the reply to dst. Nothing is appended where it is silent.
func (d *Door) hear(ctx context.Context, dst []byte, a *asking) []byte {
	arrival, ok := a.arrival()
	if !ok { // RFC 7871, section 7.1.2
		return d.say(dst, a, nil, dnswire.Said{RCode: dnswire.FormErr})
	}
	r, err := d.answered(ctx, arrival)
	switch {
	case err != nil:
		return d.refuse(dst, a, err)
	case r == nil && a.client.Proto > TLS:
		return d.say(dst, a, nil, dnswire.Said{RCode: dnswire.ServFail}) // there a request has an answer
	case r == nil:
		return dst
	}
	s := dnswire.Said{RCode: r.RCode, EDE: r.EDE, Authoritative: r.Authoritative, Truncated: r.Truncated && a.client.Proto == UDP}
	if a.Subnet != nil && r.Authoritative {
		s.Subnet = scoped(a.Subnet)
	}
	if s.Truncated || len(r.Answer)+len(r.Authority) == 0 {
		return d.say(dst, a, nil, s)
	}
	answer, local := dnswire.Local(a.Question, r.Reply)
	if local != nil {
		d.o.Logger.Error("an authority's reply cannot be packed", "type", a.Type.String())
		return d.say(dst, a, nil, dnswire.Said{RCode: dnswire.ServFail})
	}
	return d.say(dst, a, answer, s)
}

// scoped is a client subnet as the reply has it: what is said is for those in it alone (RFC 7871, section 7.2.1).
func scoped(subnet []byte) []byte {
	out := append([]byte(nil), subnet...)
	out[3] = out[2]
	return out
}

func (d *Door) answered(ctx context.Context, a Arrival) (r *Reply, err *fault.Error) {
	defer func() {
		if v := recover(); v != nil {
			r, err = nil, d.panicked(v)
		}
	}()
	return d.o.Authority.Answer(ctx, a), nil
}

// Datagram answers one message as if it had come by UDP from a client; nothing where it is not answered. It is how a message
// is tried without a socket.
func (d *Door) Datagram(ctx context.Context, msg []byte, from netip.AddrPort) []byte {
	var a asking
	out, next := d.begin(nil, msg, newClient(from, UDP), &a)
	switch next {
	case silence:
		return nil
	case wait:
		return d.finish(ctx, nil, &a)
	}
	return out
}
