// Package dnswire turns questions into DNS messages and DNS messages into answers.
//
// It promises that a query tells no more than it must (no client subnet, no telling length, no cookie), and that an
// answer which it returns is an answer to the very question asked: everything in it was reached by following the
// question, and nothing beside it is kept. It never sends a message: octets in, octets out.
package dnswire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Limits of a message and of what is read from it.
const (
	MaxMessage = 65535 // octets, RFC 1035 section 4.2.2: the length has two octets
	MaxChain   = 16    // CNAME records followed from the question
	maxEDEText = 256   // octets kept of the text of an Extended DNS Error
	maxEDE     = 4     // Extended DNS Errors kept of a reply
	headerLen  = 12    // octets, RFC 1035 section 4.1.1
)

// Type is a record type (RFC 1035, section 3.2.2, and its registry).
type Type uint16

// The types that the program names.
const (
	A      Type = 1
	NS     Type = 2
	CNAME  Type = 5
	SOA    Type = 6
	PTR    Type = 12
	MX     Type = 15
	TXT    Type = 16
	AAAA   Type = 28
	SRV    Type = 33
	DS     Type = 43
	DNSKEY Type = 48
	SVCB   Type = 64
	HTTPS  Type = 65
	ANY    Type = 255
)

// Response codes (RFC 1035, section 4.1.1).
const (
	NoError  = 0
	FormErr  = 1
	ServFail = 2
	NXDomain = 3
	NotImp   = 4
	Refused  = 5
)

// ErrType is returned for a text that names no type that can be asked for.
var ErrType = errors.New("not a record type that can be asked for")

// ParseType reads a type as its mnemonic in any case, or as TYPE with a number (RFC 3597, section 5). Types that
// stand for an operation (OPT, AXFR, IXFR, TSIG and the like) are refused.
func ParseType(s string) (Type, error) {
	if len(s) > 16 {
		return 0, fmt.Errorf("%.16q: %w", s, ErrType)
	}
	upper := strings.ToUpper(s)
	t, ok := dns.StringToType[upper]
	if !ok {
		digits, found := strings.CutPrefix(upper, "TYPE")
		n, err := strconv.ParseUint(digits, 10, 16)
		if !found || err != nil || digits[0] == '+' {
			return 0, fmt.Errorf("%q: %w", s, ErrType)
		}
		t = uint16(n)
	}
	if !Type(t).Askable() {
		return 0, fmt.Errorf("%q: %w", s, ErrType)
	}
	return Type(t), nil
}

// Askable says whether t is a type of data, or ANY: what an ordinary query may ask for. Zero, OPT and the range of
// meta types (RFC 6895, section 3.1) are not.
func (t Type) Askable() bool {
	return t == ANY || t != 0 && uint16(t) != dns.TypeOPT && (t < 128 || t > 255)
}

// String gives the mnemonic, or TYPE with the number.
func (t Type) String() string {
	switch t {
	case A:
		return "A"
	case AAAA:
		return "AAAA"
	case HTTPS:
		return "HTTPS"
	}
	if s, ok := dns.TypeToString[uint16(t)]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// RCodeText gives a response code's mnemonic, or RCODE with the number.
func RCodeText(rcode int) string {
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return "RCODE" + strconv.Itoa(rcode)
}

// Question asks for the records of one type at one name, in class IN.
type Question struct {
	Name string // canonical: lower case, no trailing dot; "" is the root
	Type Type
}

// CanonicalName puts a name into the form of Question.Name. Only the letters A to Z have case (RFC 4343). It does
// not judge the name: Query does.
func CanonicalName(s string) string {
	if bare, ok := strings.CutSuffix(s, "."); ok && (len(bare)-len(strings.TrimRight(bare, `\`)))%2 == 0 { // else the dot is escaped
		s = bare
	}
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			return strings.Map(func(r rune) rune {
				if r >= 'A' && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, s)
		}
	}
	return s
}

// fqdn is the form that the message library wants.
func fqdn(name string) string { return name + "." }

// parent gives the name one label up, in canonical form. It knows the escape of a dot (RFC 1035, section 5.1).
func parent(name string) string {
	off, end := dns.NextLabel(fqdn(name), 0)
	if end {
		return ""
	}
	return name[off:]
}

// isUnder says whether name is zone or a name below it, both canonical.
func isUnder(name, zone string) bool {
	for range 128 {
		if name == zone {
			return true
		}
		if name == "" {
			return false
		}
		name = parent(name)
	}
	return false
}
