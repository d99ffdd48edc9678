package route

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"watertight/name"
)

// ErrPattern is wrapped by every error of [ParsePattern].
var ErrPattern = errors.New("not a route pattern")

// Pattern says which targets a rule is for. It is decided on what the client wrote, never on a look-up: a network
// matches only a target that is an address.
//
//   - every target
//     api.example.com    that name
//     *.example.com      every name below example.com, not example.com itself
//     .example.com       example.com and every name below it
//     10.0.0.0/8         the addresses of a network
//     192.0.2.1          that address
type Pattern struct {
	text   string
	every  bool
	name   string // without a leading "*." or "."
	self   bool   // the name itself matches
	below  bool   // names below it match
	prefix netip.Prefix
}

// ParsePattern reads a pattern.
func ParsePattern(s string) (Pattern, error) {
	if s == "*" {
		return Pattern{text: s, every: true}, nil
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return Pattern{}, fmt.Errorf("%w: %q is not a network such as 10.0.0.0/8", ErrPattern, s)
		}
		if p != p.Masked() {
			return Pattern{}, fmt.Errorf("%w: %q has bits set beyond its length; the network is %s", ErrPattern, s, p.Masked())
		}
		if p.Addr().Is4In6() {
			return Pattern{}, fmt.Errorf("%w: %q: write an IPv4 network as IPv4", ErrPattern, s)
		}
		return Pattern{text: s, prefix: p}, nil
	}
	p := Pattern{text: s, self: true}
	rest := s
	switch {
	case strings.HasPrefix(s, "*."):
		p.self, p.below, rest = false, true, s[2:]
	case strings.HasPrefix(s, "."):
		p.below, rest = true, s[1:]
	}
	if strings.Contains(rest, "*") {
		return Pattern{}, fmt.Errorf("%w: %q: a star stands alone or as the first label, as in *.example.com", ErrPattern, s)
	}
	if strings.Contains(rest, ":") && !strings.HasPrefix(rest, "[") && strings.Count(rest, ":") == 1 {
		return Pattern{}, fmt.Errorf("%w: %q: a pattern has no port", ErrPattern, s)
	}
	h, err := name.ParseHost(rest)
	if err != nil {
		return Pattern{}, fmt.Errorf("%w: %q: %w", ErrPattern, s, err)
	}
	if a, ok := h.Addr(); ok {
		if p.below {
			return Pattern{}, fmt.Errorf("%w: %q: nothing is below an address", ErrPattern, s)
		}
		return Pattern{text: s, prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	p.name, _ = h.Name()
	return p, nil
}

// String gives the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match says whether the pattern is for h.
func (p Pattern) Match(h name.Host) bool {
	if p.every {
		return true
	}
	if a, ok := h.Addr(); ok {
		return p.prefix.IsValid() && p.prefix.Contains(a)
	}
	if p.name == "" || !h.Under(p.name) {
		return false
	}
	if n, _ := h.Name(); n == p.name {
		return p.self
	}
	return p.below
}

// Covers says that every target of q is a target of p, so that a rule for q behind one for p never matches.
func (p Pattern) Covers(q Pattern) bool {
	switch {
	case p.every:
		return true
	case q.every:
		return false
	case p.prefix.IsValid() || q.prefix.IsValid():
		return p.prefix.IsValid() && q.prefix.IsValid() && p.prefix.Bits() <= q.prefix.Bits() && p.prefix.Contains(q.prefix.Addr())
	case p.name == q.name:
		return (p.self || !q.self) && (p.below || !q.below)
	default:
		return p.below && strings.HasSuffix(q.name, "."+p.name)
	}
}
