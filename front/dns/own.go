package dns

import (
	"time"

	"watertight/dnswire"
	"watertight/fault"
)

// Extended DNS Errors that the door gives by itself (RFC 8914, section 4, and its registry).
const (
	edeOther            = 0
	edeNotAuthoritative = 20 // also for a resolver that was asked without RD
	edeNotSupported     = 21
	edeInvalidType      = 30 // RFC 9824, section 3.5
)

const (
	typeHINFO  = 13
	typeNXNAME = 128 // RFC 9824: it stands in proofs, and is never asked for
)

// ownOf answers what neither a handler nor an authority is asked.
func (d *Door) ownOf(dst []byte, a *asking) ([]byte, bool) {
	if d.o.Authority != nil {
		return d.notOurs(dst, a)
	}
	return d.own(dst, a)
}

// own answers what the handler is never asked: other classes, types that stand for an operation, ANY, and questions of
// who wants to look into a cache without filling it.
func (d *Door) own(dst []byte, a *asking) ([]byte, bool) {
	if dst, done := d.notOurs(dst, a); done {
		return dst, true
	}
	switch {
	case !a.RecursionDesired:
		return d.reject(dst, a, dnswire.Refused, edeNotAuthoritative, "only recursive queries are served"), true
	case a.Type == dnswire.ANY: // RFC 8482, section 4.2
		a.ttl = anyTTL
		return d.record(dst, a, typeHINFO, anyTTL, []byte("\x07RFC8482\x00")), true
	}
	return dst, false
}

// anyTTL is for how long the answer to ANY may be kept: it never changes.
const anyTTL = time.Hour

// chaos tells of the server what the options want told (RFC 4892).
func (d *Door) chaos(dst []byte, a *asking) []byte {
	text := ""
	if a.Type == dnswire.TXT || a.Type == dnswire.ANY {
		switch a.Name {
		case "id.server", "hostname.bind":
			text = d.told.Load().id
		case "version.server", "version.bind":
			text = d.told.Load().version
		}
	}
	if text == "" {
		return d.reject(dst, a, dnswire.Refused, edeNotSupported, "only class IN is served")
	}
	return d.record(dst, a, dnswire.TXT, 0, append([]byte{byte(len(text))}, text...))
}

// record appends a reply with one record of the door's own.
func (d *Door) record(dst []byte, a *asking, t dnswire.Type, ttl time.Duration, data []byte) []byte {
	var s dnswire.Said
	d.complete(a, &s)
	out, err := a.AppendRecord(dst, t, uint32(ttl/time.Second), data, s)
	if err != nil {
		return d.say(dst, a, nil, dnswire.Said{RCode: dnswire.ServFail})
	}
	d.countTruncated(out[len(dst):])
	return out
}

// reject appends a reply that says no for a reason that lies in the query.
func (d *Door) reject(dst []byte, a *asking, rcode int, code uint16, text string) []byte {
	return d.say(dst, a, nil, dnswire.Said{RCode: rcode, EDE: []dnswire.EDE{{Code: code, Text: text}}})
}

// refuse appends the reply that a fault is to a DNS client: the response code of its code (package fault has the
// table) and its Extended DNS Error, with the message and the code as its text. A name that does not exist, or has no such
// record, is no error: that answer has no Extended DNS Error.
func (d *Door) refuse(dst []byte, a *asking, f *fault.Error) []byte {
	d.stats.failed.Add(1)
	s := dnswire.Said{RCode: f.Code.RCode()}
	if s.RCode != dnswire.NoError && s.RCode != dnswire.NXDomain {
		s.EDE = []dnswire.EDE{{Code: f.ExtendedError(), Text: f.Reason()}}
	}
	return d.say(dst, a, nil, s)
}

// slowDown is for a client over its rate. One that may be somebody else's forged address is mostly not answered: every
// second time it is told to come again by TCP, or with the cookie that it gets (RFC 7873, section 5.2.3).
func (d *Door) slowDown(dst []byte, a *asking, verified bool) ([]byte, step) {
	switch {
	case verified:
		return d.refuse(dst, a, fault.New(fault.Limit, "this client asks too often", nil)), tooMany
	case d.stats.rateLimited.Load()%2 == 0:
		return dst, silence
	case a.hasCookie:
		return d.say(dst, a, nil, dnswire.Said{RCode: dnswire.BadCookie}), tooMany
	}
	return d.say(dst, a, nil, dnswire.Said{Truncated: true}), tooMany
}
