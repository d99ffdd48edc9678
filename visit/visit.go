// Package visit is what a canary and those who test themselves with it say to each other: the names below the canary's
// zone, and what the canary has seen of them. It dials nothing, and has no parts that could.
//
// A visit is one label, made at random by whoever tests: nothing is registered before, and the label is the only key to
// what was seen of it. A name of a visit has the label, and the branch that says how its questions are to be answered, in
// one label of DNS, so that one wildcard certificate serves them all:
//
//	LABEL.ZONE              an ordinary name
//	LABEL-v6.ZONE           one that has IPv6 addresses only
//	deep.er.LABEL.ZONE      below it everything is there too, by which minimised questions show (RFC 9156)
package visit

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"net/netip"
	"strings"
	"time"
)

// LabelLength is the length of a label in letters and digits: 100 bits.
const LabelLength = 20

// Branch says how questions for a name are answered.
type Branch string

// The branches. Each is answered alike over all transports but for what is said here.
const (
	Plain    Branch = ""         // addresses of both families, HTTPS, TXT
	V4       Branch = "v4"       // IPv4 addresses only
	V6       Branch = "v6"       // IPv6 addresses only
	Short    Branch = "short"    // as Plain, with a TTL of one second
	TCP      Branch = "tcp"      // truncated over UDP (RFC 1035 §4.1.1): whole over TCP
	Large    Branch = "large"    // a TXT record set of some 3,000 octets
	Slow     Branch = "slow"     // as Plain, three seconds later
	Silent   Branch = "silent"   // never answered
	Servfail Branch = "servfail" // SERVFAIL
	Refused  Branch = "refused"  // REFUSED
	Nxdomain Branch = "nxdomain" // NXDOMAIN, signed
	Bogus    Branch = "bogus"    // as Plain, with signatures that are wrong: a validating resolver answers SERVFAIL
)

// Branches are all of them, in the order of their constants.
var Branches = []Branch{Plain, V4, V6, Short, TCP, Large, Slow, Silent, Servfail, Refused, Nxdomain, Bogus}

// Whoami is the label below the zone whose A, AAAA and TXT records are the address that the question came from.
const Whoami = "whoami"

var spelling = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewLabel gives a label that nobody else has.
func NewLabel() string {
	var b [13]byte
	_, _ = rand.Read(b[:]) // never fails
	return spelling.EncodeToString(b[:])[:LabelLength]
}

// IsLabel says whether s is a label as [NewLabel] gives them, in lower case.
func IsLabel(s string) bool {
	if len(s) != LabelLength {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// Name is the name of a visit in a branch: the zone has no dot at its end, and neither has the name.
func Name(label string, branch Branch, zone string) string {
	if branch != Plain {
		label += "-" + string(branch)
	}
	return label + "." + zone
}

// ErrNoVisit is why a name is none of a visit.
var ErrNoVisit = errors.New("visit: not the name of a visit")

// Parse takes a name below a zone apart, in any case, with a dot at its end or without one. depth is how many labels it
// has before that of the visit.
func Parse(name, zone string) (label string, branch Branch, depth int, err error) {
	name, zone = strings.ToLower(strings.TrimSuffix(name, ".")), strings.ToLower(strings.TrimSuffix(zone, "."))
	below, ok := strings.CutSuffix(name, "."+zone)
	if !ok || len(name) > 253 {
		return "", "", 0, ErrNoVisit
	}
	if i := strings.LastIndexByte(below, '.'); i >= 0 {
		depth = strings.Count(below, ".")
		below = below[i+1:]
	}
	label, spelled, ok := strings.Cut(below, "-")
	if !IsLabel(label) || ok && spelled == "" {
		return "", "", 0, ErrNoVisit
	}
	for _, b := range Branches {
		if string(b) == spelled {
			return label, b, depth, nil
		}
	}
	return "", "", 0, ErrNoVisit
}

// Network is to whom an address belongs, as far as the canary was given the data.
type Network struct {
	Number  uint32 `json:"asn,omitempty"`     // of the autonomous system
	Name    string `json:"name,omitempty"`    // of its holder
	Country string `json:"country,omitempty"` // ISO 3166-1 alpha-2
}

// Query is one question that reached the canary.
type Query struct {
	At        time.Time      `json:"at"`
	From      netip.AddrPort `json:"from"`
	Network   *Network       `json:"network,omitempty"`
	Over      string         `json:"over"`             // udp, tcp or tls
	Name      string         `json:"name"`             // as it was asked, in its case
	Type      string         `json:"type"`             // A, AAAA, HTTPS, …
	Subnet    string         `json:"subnet,omitempty"` // the client subnet that came with it (RFC 7871), in CIDR form
	Cookie    bool           `json:"cookie"`           // it had a DNS cookie (RFC 7873)
	MixedCase bool           `json:"mixed_case"`       // its name had letters in both cases
	DNSSEC    bool           `json:"dnssec"`           // its DO bit was set (RFC 3225)
	Size      uint16         `json:"size,omitempty"`   // the UDP size of its EDNS option; 0 without one
}

// Request is one HTTP request that reached the canary.
type Request struct {
	At      time.Time      `json:"at"`
	From    netip.AddrPort `json:"from"`
	Network *Network       `json:"network,omitempty"`
	Host    string         `json:"host"`
	Secure  bool           `json:"secure"` // over TLS
}

// Seen is what the canary has seen of one visit. Nothing is kept for longer than an hour.
type Seen struct {
	Label     string    `json:"label"`
	Queries   []Query   `json:"queries"`   // in the order of their coming
	Requests  []Request `json:"requests"`  // in the order of their coming
	Minimised bool      `json:"minimised"` // a name was asked for that only a minimising resolver asks for (RFC 9156)
	Cut       bool      `json:"cut"`       // there was more than the canary keeps of one visit
}

// Zone is what a canary says of itself.
type Zone struct {
	Zone      string       `json:"zone"`
	Addresses []netip.Addr `json:"addresses"` // of its web page, which the names lead to
	Branches  []Branch     `json:"branches"`
	Keep      int          `json:"keep"`         // seconds for which what was seen is kept
	DS        []string     `json:"ds,omitempty"` // the records that the zone above needs, in presentation form
	Version   string       `json:"version"`
}

// Paths of the canary's API, below the address that is configured as `api`.
const (
	PathLabel  = "/v1/labels/" // and the label: [Seen]; 404 where nothing was seen
	PathWhoami = "/v1/whoami"  // [Whoever]
	PathZone   = "/v1/zone"    // [Zone]
)

// Whoever is the address that a request came from.
type Whoever struct {
	Address netip.Addr `json:"address"`
	Network *Network   `json:"network,omitempty"`
}
