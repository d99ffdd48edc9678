package dns

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"watertight/dnswire"
	"watertight/fault"
)

// maxUDP is the most octets of a datagram: it fits any path without fragments (DNS Flag Day 2020, RFC 9715).
const maxUDP = 1232

// asking is a query on its way. It holds as long as the octets that it was read from.
type asking struct {
	dnswire.Asked
	client Client
	limit  int // octets that the reply may have

	cookie    [cookieLen]byte // what the client gets, if hasCookie
	hasCookie bool
	keepAlive uint16 // in units of 100 ms, for who wants to know (RFC 7828)

	ttl time.Duration // for how long the reply may be kept; -1 for a failure
}

// step is what is to be done about a message.
type step int

const (
	silence step = iota // nothing is answered
	reply               // the reply is there
	wait                // the handler is to be asked
	tooMany             // the reply is there, and says that the client asks too often
)

// begin reads a message of a client that is served and appends the reply to dst, if there is one at once. Silence is also for
// what breaks the rules of its transport. keepAlive is set by the caller, the rest of a by begin.
func (d *Door) begin(dst, msg []byte, c Client, a *asking) (out []byte, next step) {
	d.stats.queries[c.Proto].Add(1)
	a.client, a.hasCookie, a.ttl = c, false, -1
	rcode, err := a.Read(msg)
	if err != nil {
		d.stats.malformed.Add(1)
		return dst, silence
	}
	if c.Proto == QUIC && (a.ID != 0 || a.KeepAlive) { // RFC 9250, sections 4.2.1 and 5.5.2
		d.stats.malformed.Add(1)
		return dst, silence
	}
	if rcode == dnswire.FormErr {
		d.stats.malformed.Add(1)
	}
	a.limit = dnswire.MaxMessage
	if c.Proto == UDP {
		a.limit = int(min(a.UDPSize, maxUDP))
	}
	now := time.Now()
	verified, sound := d.openCookie(a, now)
	if c.Proto == UDP && !verified && (d.o.Authority != nil || !d.isNear(c.Addr.Addr())) {
		a.limit = min(a.limit, d.o.Amplification*len(msg))
	}
	if !d.o.Home && !d.rate.allow(c.Addr.Addr(), verified || c.Proto != UDP, now) {
		d.stats.rateLimited.Add(1)
		return d.slowDown(dst, a, verified || c.Proto != UDP)
	}
	if !sound {
		rcode = dnswire.FormErr
	}
	if rcode != dnswire.NoError || a.Empty {
		return d.say(dst, a, nil, dnswire.Said{RCode: rcode}), reply
	}
	if a.Name == "wpad" || strings.HasPrefix(a.Name, "wpad.") {
		d.stats.wpad.Add(1)
	}
	if out, ok := d.ownOf(dst, a); ok {
		return out, reply
	}
	if answer := d.cached(a); answer != nil {
		d.stats.cached.Add(1)
		return d.answer(dst, a, answer), reply
	}
	if d.stats.waiting.Add(1) > int64(d.o.Queries) {
		d.stats.waiting.Add(-1)
		d.stats.busy.Add(1)
		return d.refuse(dst, a, fault.New(fault.Limit, "as many queries are under way as may be", nil)), reply
	}
	return dst, wait
}

// query is what the handler hears of a.
func (a *asking) query() Query {
	return Query{a.Question, a.DNSSEC, a.CheckingDisabled}
}

// finish asks the handler or the authority, after begin said to wait, and appends the reply to dst. Nothing is appended where
// nothing is to be said.
func (d *Door) finish(ctx context.Context, dst []byte, a *asking) []byte {
	defer d.stats.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	if d.o.Authority != nil {
		return d.hear(ctx, dst, a)
	}
	answer, err := d.exchange(ctx, a)
	return d.outcome(dst, a, answer, err)
}

// outcome appends the reply that says what came of asking the handler.
func (d *Door) outcome(dst []byte, a *asking, answer *dnswire.Answer, err error) []byte {
	if err != nil {
		return d.refuse(dst, a, fault.Of(err))
	}
	return d.answer(dst, a, answer)
}

func (d *Door) exchange(ctx context.Context, a *asking) (answer *dnswire.Answer, err error) {
	defer func() {
		if v := recover(); v != nil {
			answer, err = nil, d.panicked(v)
		}
	}()
	return d.o.Handler.Exchange(ctx, a.client, a.query())
}

func (d *Door) cached(a *asking) (answer *dnswire.Answer) {
	if d.cacher == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			answer = nil
			_ = d.panicked(v)
		}
	}()
	answer, ok := d.cacher.Cached(a.client, a.query())
	if !ok {
		return nil
	}
	return answer
}

// panicked makes a fault of a panic. The log gets the stack, which holds no names, and of the panic's value only the
// type, unless the runtime made it.
func (d *Door) panicked(v any) *fault.Error {
	d.stats.panics.Add(1)
	what := fmt.Sprintf("%T", v)
	if err, ok := v.(runtime.Error); ok {
		what = err.Error()
	}
	d.o.Logger.Error("a query failed by a fault of the program", "panic", what, "stack", string(debug.Stack()))
	return fault.New(fault.Internal, "the query failed by a fault of Watertight", nil)
}

// answer appends the reply that says what the handler found.
func (d *Door) answer(dst []byte, a *asking, answer *dnswire.Answer) []byte {
	if answer == nil || answer.Question != a.Question {
		return d.refuse(dst, a, fault.New(fault.Internal, "there is an answer to another question", nil))
	}
	s := dnswire.Said{RCode: answer.RCode, EDE: answer.EDE, AD: answer.AD && (a.Authentic || a.DNSSEC)}
	if answer.RCode == dnswire.NoError || answer.RCode == dnswire.NXDomain {
		a.ttl = answer.TTL
	}
	return d.say(dst, a, answer, s)
}

// say appends a reply with what belongs into every one: cookie, keep-alive, padding.
func (d *Door) say(dst []byte, a *asking, answer *dnswire.Answer, s dnswire.Said) []byte {
	d.complete(a, &s)
	out, err := a.AppendReply(dst, answer, s)
	if err != nil { // the answer cannot be said: this can, for it has no records
		a.ttl = -1
		d.stats.failed.Add(1)
		s.RCode, s.AD, s.EDE = dnswire.ServFail, false, nil
		out, _ = a.AppendReply(dst, nil, s)
	}
	d.countTruncated(out[len(dst):])
	return out
}

func (d *Door) countTruncated(b []byte) {
	if b[2]&2 != 0 {
		d.stats.truncated.Add(1)
	}
}

// complete sets what belongs into every reply.
func (d *Door) complete(a *asking, s *dnswire.Said) {
	s.Limit, s.Owner = a.limit, d.o.Authority != nil
	if a.hasCookie {
		s.Cookie = a.cookie[:]
	}
	if a.KeepAlive && (a.client.Proto == TCP || a.client.Proto == TLS) {
		s.HasKeepAlive, s.KeepAlive = true, a.keepAlive
	}
	if a.Padded && a.client.Proto.encrypted() { // RFC 7830, sections 4 and 6
		s.PadTo = dnswire.PadReply
	}
}
