// Package name holds what a client asked to reach: a host, which is a name or an address, and a port.
//
// It promises that a value which exists is well formed and in one canonical form, so that policy, cache and
// resolver never disagree about whether two spellings are the same host. It never looks anything up, and it has
// no way to: a [Target] that holds a name cannot be turned into an address here.
package name

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of a name in its text form without the root dot (RFC 1035, section 2.3.4).
const (
	MaxName  = 253
	MaxLabel = 63
)

// Errors that the constructors wrap. All of them mean that the client's request was malformed.
var (
	ErrEmpty    = errors.New("the host is empty")
	ErrName     = errors.New("not a valid host name")
	ErrPort     = errors.New("the port must be a number from 1 to 65535")
	ErrZone     = errors.New("an IPv6 zone has no meaning beyond this host")
	ErrUserinfo = errors.New("a target has no user information")
)

// Host is a name or an address. The zero Host is not valid.
type Host struct {
	name string     // lower case A-labels, no trailing dot; empty if addr is valid
	addr netip.Addr // never a zone, never an IPv4-mapped IPv6 address
}

// Target is a host and a port from 1 to 65535. The zero Target is not valid.
type Target struct {
	host Host
	port uint16
}

// profile converts U-labels to A-labels (RFC 5891) and leaves labels that are ASCII already alone: DNS names in
// use carry underscores and hyphens that host name rules refuse.
var profile = idna.New(idna.MapForLookup(), idna.StrictDomainName(false), idna.VerifyDNSLength(false))

// ParseHost reads a name or an address: `example.com`, `EXAMPLE.com.`, `münchen.example`, `192.0.2.1`,
// `2001:db8::1` or `[2001:db8::1]`. One trailing dot is removed. An IPv6 zone is refused, and so is anything that
// some resolvers would read as an address in disguise (`0x7f.1`, `127.1`, `2130706433`).
func ParseHost(s string) (Host, error) {
	if s == "" {
		return Host{}, ErrEmpty
	}
	if len(s) > 4*MaxName {
		return Host{}, fmt.Errorf("%w: %d octets, and a name has at most %d", ErrName, len(s), MaxName)
	}
	if s[0] == '[' {
		if s[len(s)-1] != ']' {
			return Host{}, fmt.Errorf("%w: a bracket is not closed", ErrName)
		}
		inner := s[1 : len(s)-1]
		addr, err := netip.ParseAddr(inner)
		if err != nil || !strings.Contains(inner, ":") {
			return Host{}, fmt.Errorf("%w: brackets hold an IPv6 address", ErrName)
		}
		return FromAddr(addr)
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return FromAddr(addr)
	}
	return parseName(s)
}

func parseName(s string) (Host, error) {
	if strings.IndexByte(s, '@') >= 0 {
		return Host{}, ErrUserinfo
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return Host{}, ErrEmpty
	}
	if !utf8.ValidString(s) {
		return Host{}, fmt.Errorf("%w: not UTF-8", ErrName)
	}
	if !isLowerName(s) {
		ascii, err := profile.ToASCII(s)
		if err != nil {
			return Host{}, fmt.Errorf("%w: %v", ErrName, err)
		}
		s = strings.ToLower(ascii)
	}
	if len(s) > MaxName {
		return Host{}, fmt.Errorf("%w: %d octets, and a name has at most %d", ErrName, len(s), MaxName)
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if err := checkLabel(label); err != nil {
			return Host{}, err
		}
		last = label
	}
	if looksNumeric(last) {
		return Host{}, fmt.Errorf("%w: it ends in a number, so some programs read it as an address; write the address in full", ErrName)
	}
	return Host{name: s}, nil
}

// isLowerName says that s needs no conversion: the common case, decided without allocating.
func isLowerName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

func checkLabel(label string) error {
	if label == "" {
		return fmt.Errorf("%w: a label is empty", ErrName)
	}
	if len(label) > MaxLabel {
		return fmt.Errorf("%w: a label of %d octets, and a label has at most %d", ErrName, len(label), MaxLabel)
	}
	if !isLowerName(label) {
		return fmt.Errorf("%w: only letters, digits, hyphens and underscores may stand in a label", ErrName)
	}
	return nil
}

// looksNumeric follows the WHATWG URL standard, section 3.5: a last label that is a number, in any base, makes
// the whole host an IPv4 address for browsers and for inet_aton.
func looksNumeric(label string) bool {
	digits := strings.TrimLeft(label, "0123456789") == ""
	hex := strings.HasPrefix(label, "0x") && strings.Trim(label[2:], "0123456789abcdef") == ""
	return digits || hex
}

// FromAddr makes a host of an address. An IPv4-mapped IPv6 address becomes the IPv4 address it stands for, so
// that no policy can be passed by in disguise. A zone is refused.
func FromAddr(a netip.Addr) (Host, error) {
	if !a.IsValid() {
		return Host{}, ErrEmpty
	}
	if a.Zone() != "" {
		return Host{}, ErrZone
	}
	return Host{addr: a.Unmap()}, nil
}

// MustHost is ParseHost for texts that stand in the program; it panics on an error.
func MustHost(s string) Host {
	h, err := ParseHost(s)
	if err != nil {
		panic(err)
	}
	return h
}

// IsValid says whether h came from a constructor.
func (h Host) IsValid() bool { return h.name != "" || h.addr.IsValid() }

// Addr gives the address, and whether h is one.
func (h Host) Addr() (netip.Addr, bool) { return h.addr, h.addr.IsValid() }

// Name gives the name in canonical form without the root dot, and whether h is one.
func (h Host) Name() (string, bool) { return h.name, h.name != "" }

// String gives the host as a client would write it, an IPv6 address without brackets.
func (h Host) String() string {
	if h.addr.IsValid() {
		return h.addr.String()
	}
	return h.name
}

// LogValue hides the host from logs; [Reveal] shows it.
func (h Host) LogValue() slog.Value { return slog.StringValue("(hidden)") }

// Under says whether h is the name suffix or a name below it.
func (h Host) Under(suffix string) bool {
	if h.name == "" {
		return false
	}
	rest, ok := strings.CutSuffix(h.name, suffix)
	return ok && (rest == "" || strings.HasSuffix(rest, "."))
}

// Parse reads `HOST:PORT`, with an IPv6 address in brackets.
func Parse(s string) (Target, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return Target{}, fmt.Errorf("%w: none is given", ErrPort)
	}
	host, port := s[:i], s[i+1:]
	if strings.IndexByte(host, '@') >= 0 {
		return Target{}, ErrUserinfo
	}
	if strings.IndexByte(host, ':') >= 0 && host[0] != '[' {
		return Target{}, fmt.Errorf("%w: write an IPv6 address in brackets", ErrName)
	}
	h, err := ParseHost(host)
	if err != nil {
		return Target{}, err
	}
	p, err := ParsePort(port)
	if err != nil {
		return Target{}, err
	}
	return New(h, p)
}

// ParsePort reads a decimal port from 1 to 65535 without sign, blanks or leading zeros.
func ParsePort(s string) (uint16, error) {
	if s == "" || len(s) > 5 || s[0] < '1' || s[0] > '9' {
		return 0, ErrPort
	}
	p, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, ErrPort
	}
	return uint16(p), nil
}

// New joins a host and a port.
func New(h Host, port uint16) (Target, error) {
	if !h.IsValid() {
		return Target{}, ErrEmpty
	}
	if port == 0 {
		return Target{}, ErrPort
	}
	return Target{host: h, port: port}, nil
}

// FromAddrPort makes a target of an address and a port.
func FromAddrPort(ap netip.AddrPort) (Target, error) {
	h, err := FromAddr(ap.Addr())
	if err != nil {
		return Target{}, err
	}
	return New(h, ap.Port())
}

// Must is Parse for texts that stand in the program; it panics on an error.
func Must(s string) Target {
	t, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return t
}

// IsValid says whether t came from a constructor.
func (t Target) IsValid() bool { return t.port != 0 }

// Host gives the host.
func (t Target) Host() Host { return t.host }

// Port gives the port, 1 to 65535.
func (t Target) Port() uint16 { return t.port }

// AddrPort gives the socket address, and whether t has one: a name has none.
func (t Target) AddrPort() (netip.AddrPort, bool) {
	a, ok := t.host.Addr()
	return netip.AddrPortFrom(a, t.port), ok
}

// String gives `HOST:PORT` with an IPv6 address in brackets, the form of an HTTP authority.
func (t Target) String() string {
	if ap, ok := t.AddrPort(); ok {
		return ap.String()
	}
	return t.host.name + ":" + strconv.Itoa(int(t.port))
}

// LogValue hides the target from logs; [Reveal] shows it.
func (t Target) LogValue() slog.Value { return slog.StringValue("(hidden)") }

// Reveal is a target that logs may show. It is made only where the configuration says `log.names: true`, or at
// debug level.
type Reveal Target

// LogValue shows the target.
func (r Reveal) LogValue() slog.Value { return slog.StringValue(Target(r).String()) }
