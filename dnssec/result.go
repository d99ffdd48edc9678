package dnssec

import (
	"fmt"
	"time"
)

// State is the outcome of a validation (RFC 4035, section 4.3). The zero value is Indeterminate: what was not judged
// may not be used.
type State int

// The states. Only Secure and Insecure answers may be used.
const (
	Indeterminate State = iota // the chain could not be followed to its end: a look-up failed or a limit was reached
	Bogus                      // there should be a chain of signatures, and it is broken
	Insecure                   // it is proven that the chain ends above the name
	Secure                     // signed from a trust anchor down
)

// String gives the state in lower case.
func (s State) String() string {
	switch s {
	case Secure:
		return "secure"
	case Insecure:
		return "insecure"
	case Bogus:
		return "bogus"
	}
	return "indeterminate"
}

// Extended DNS Errors that Result.EDE takes (RFC 8914, section 4; RFC 9276, section 3.2).
const (
	EDENone                  uint16 = 0 // nothing to say
	EDEUnsupportedAlgorithm  uint16 = 1
	EDEUnsupportedDigest     uint16 = 2
	EDEIndeterminate         uint16 = 5
	EDEBogus                 uint16 = 6
	EDESignatureExpired      uint16 = 7
	EDESignatureNotYetValid  uint16 = 8
	EDEKeyMissing            uint16 = 9
	EDESignaturesMissing     uint16 = 10
	EDENoZoneKeyBit          uint16 = 11
	EDENSECMissing           uint16 = 12
	EDEUnsupportedIterations uint16 = 27
)

// Result is the judgement of one reply.
type Result struct {
	State  State
	EDE    uint16 // EDENone where there is nothing to say
	Reason string // one line for people; it names what was looked at
	// TTL is how long the reply may be kept at most: the smallest of the TTLs that arrived, the TTLs that were signed,
	// and the time that the signatures are still good for (RFC 4035, section 5.3.3). Zero for Bogus and Indeterminate.
	TTL time.Duration
}

// maxTTL bounds every TTL here.
const maxTTL = 24 * time.Hour

// verdict is a Result on its way, for one RRset, one proof or one zone.
type verdict struct {
	state  State
	ede    uint16
	reason string
	ttl    time.Duration
}

func secure(ttl time.Duration) verdict { return verdict{state: Secure, ttl: ttl} }

func insecure(ede uint16, ttl time.Duration, format string, args ...any) verdict {
	return verdict{state: Insecure, ede: ede, ttl: ttl, reason: fmt.Sprintf(format, args...)}
}

func bogus(ede uint16, format string, args ...any) verdict {
	return verdict{state: Bogus, ede: ede, reason: fmt.Sprintf(format, args...)}
}

func indeterminate(format string, args ...any) verdict {
	return verdict{state: Indeterminate, ede: EDEIndeterminate, reason: fmt.Sprintf(format, args...)}
}

// usable says whether data with this verdict may be used at all.
func (v verdict) usable() bool { return v.state == Secure || v.state == Insecure }

// and joins the verdicts of two parts of one reply: the worse one stands, and the smaller TTL. Bogus is worse than
// Indeterminate, which is worse than Insecure.
func (v verdict) and(w verdict) verdict {
	rank := [...]int{Indeterminate: 2, Bogus: 3, Insecure: 1, Secure: 0}
	ttl := min(v.ttl, w.ttl)
	if rank[w.state] > rank[v.state] {
		v = w
	}
	v.ttl = ttl
	return v
}

// result finishes a verdict.
func (v verdict) result() Result {
	r := Result{State: v.state, EDE: v.ede, Reason: v.reason}
	if v.usable() {
		r.TTL = max(0, min(v.ttl, maxTTL))
	}
	return r
}
