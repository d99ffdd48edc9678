package stamp

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"watertight/name"
)

const scheme = "sdns://"

// encoding is strict: one payload has one text.
var encoding = base64.RawURLEncoding.Strict()

// Parse reads a stamp. Every error wraps [ErrStamp] and says which field is wrong, at which octet of the payload,
// and why. A relay of DNSCrypt without a port gets 443: the draft makes the port mandatory, and most of the public
// relays leave it out.
func Parse(s string) (Stamp, error) {
	if len(s) > MaxLength {
		return Stamp{}, fmt.Errorf("%w: %d octets, and at most %d are read", ErrStamp, len(s), MaxLength)
	}
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return Stamp{}, fmt.Errorf("%w: it does not start with %s", ErrStamp, scheme)
	}
	text := s[len(scheme):]
	// The decoder of the standard library skips line ends.
	if i := strings.IndexFunc(text, notBase64URL); i >= 0 {
		return Stamp{}, fmt.Errorf("%w: character %d: %q is not of the URL-safe base64 alphabet without padding", ErrStamp, len(scheme)+i+1, text[i])
	}
	payload, err := encoding.DecodeString(text)
	if err != nil {
		return Stamp{}, fmt.Errorf("%w: %v", ErrStamp, err)
	}
	if len(payload) == 0 {
		return Stamp{}, fmt.Errorf("%w: the payload is empty", ErrStamp)
	}
	r := reader{payload: payload, at: 1}
	return r.stamp(Kind(payload[0]))
}

func notBase64URL(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

// reader walks a payload. The first error stays.
type reader struct {
	payload []byte
	at      int    // octets read
	start   int    // where the field in hand starts
	field   string // its name, for errors
	err     error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: octet %d: %s: %w", ErrStamp, r.start, r.field, fmt.Errorf(format, args...))
	}
}

// take gives n octets, or nil after an error.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.payload)-r.at {
		r.fail("%d octets are announced and %d are left", n, len(r.payload)-r.at)
		return nil
	}
	b := r.payload[r.at : r.at+n]
	r.at += n
	return b
}

func (r *reader) begin(field string) { r.field, r.start = field, r.at }

// text reads a field with its length before it: LP(x).
func (r *reader) text(field string) string {
	r.begin(field)
	n := r.take(1)
	if n == nil {
		return ""
	}
	return string(r.take(int(n[0])))
}

// list reads items until one whose length has no top bit: VLP(x1, …, xn). One empty item is the empty list.
func (r *reader) list(field string, each func(item []byte)) {
	for first := true; ; first = false {
		r.begin(field)
		n := r.take(1)
		if n == nil {
			return
		}
		more, size := n[0]&0x80 != 0, int(n[0]&0x7f)
		item := r.take(size)
		switch {
		case r.err != nil:
			return
		case size > 0:
			each(item)
		case more || !first:
			r.fail("an item is empty")
		}
		if r.err != nil || !more {
			return
		}
	}
}

func (r *reader) stamp(kind Kind) (Stamp, error) {
	l, ok := layouts[kind]
	if !ok {
		return Stamp{}, fmt.Errorf("%w: octet 0: protocol 0x%02x is not known", ErrStamp, uint8(kind))
	}
	s := Stamp{Kind: kind}
	if l.props {
		s.Props = r.props()
	}
	var port uint16 // as the address has it, 0 if it does not
	if l.addr {
		s.Addr, port = r.addr(l)
	}
	if l.crypto {
		s.PublicKey, s.Provider = r.key(), r.provider()
	}
	if l.tls {
		r.list("certificate hash", func(item []byte) {
			if len(item) != hashLen {
				r.fail("%d octets, and a SHA-256 digest has %d", len(item), hashLen)
				return
			}
			s.Hashes = append(s.Hashes, [hashLen]byte(item))
		})
	}
	if l.host {
		s.Host = r.host(l.port, port)
		if s.Addr.IsValid() {
			s.Addr = netip.AddrPortFrom(s.Addr.Addr(), s.Host.Port())
		}
	}
	if l.path {
		s.Path = r.path()
	}
	if l.tls && r.err == nil && r.at < len(r.payload) { // the one field that may be missing
		r.list("bootstrap address", func(item []byte) {
			s.Bootstraps = append(s.Bootstraps, r.address(string(item), portPlain))
		})
	}
	if r.err == nil && r.at < len(r.payload) {
		r.begin("end")
		r.fail("%d octets follow after the last field of a %s stamp", len(r.payload)-r.at, kind)
	}
	if r.err != nil {
		return Stamp{}, r.err
	}
	return s, nil
}

// props reads eight octets, little-endian. Bits without a meaning are to be ignored.
func (r *reader) props() Props {
	r.begin("properties")
	b := r.take(8)
	if b == nil {
		return Props{}
	}
	v := binary.LittleEndian.Uint64(b)
	return Props{DNSSEC: v&bitDNSSEC != 0, NoLog: v&bitNoLog != 0, NoFilter: v&bitNoFilter != 0}
}

// addr reads the address; port is 0 where the text has none. An address may be missing, or have nothing but its port
// (":443"), where the kind has a host.
func (r *reader) addr(l layout) (a netip.AddrPort, port uint16) {
	s := r.text("address")
	if r.err != nil {
		return a, 0
	}
	host, rest := splitPort(s)
	if rest != "" {
		var err error
		if port, err = name.ParsePort(rest[1:]); err != nil {
			r.fail("%q: %w", s, err)
			return a, 0
		}
	}
	if host == "" && !l.needAddr {
		return a, port
	}
	return r.address(s, l.port), port
}

// splitPort cuts a text after its host; rest is empty or starts with the colon.
func splitPort(s string) (host, rest string) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || colon < strings.LastIndexByte(s, ']') {
		return s, ""
	}
	return s[:colon], s[colon:]
}

// address reads `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]` or `[2001:db8::1]:5353`.
func (r *reader) address(s string, port uint16) netip.AddrPort {
	host, rest := splitPort(s)
	if rest != "" {
		p, err := name.ParsePort(rest[1:])
		if err != nil {
			r.fail("%q: %w", s, err)
			return netip.AddrPort{}
		}
		port = p
	}
	inner, open := strings.CutPrefix(host, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	a, err := netip.ParseAddr(inner)
	switch {
	case host == "":
		r.fail("there is none, and nothing else says where to connect")
	case err != nil || open != closed || open != a.Is6():
		r.fail("%q is neither an IPv4 address nor an IPv6 address in brackets", s)
	case a.Zone() != "":
		r.fail("%q: %w", s, name.ErrZone)
	case a.Unmap().IsUnspecified() || a.Unmap().IsMulticast():
		r.fail("%q is the address of no host", s)
	default:
		return netip.AddrPortFrom(a.Unmap(), port)
	}
	return netip.AddrPort{}
}

// host reads a host with an optional port. A port in the address field counts as well: an older form of the
// specification has it there.
func (r *reader) host(standard, fromAddr uint16) name.Target {
	s := r.text("host name")
	if r.err != nil {
		return name.Target{}
	}
	host, rest := splitPort(s)
	port := standard
	if fromAddr != 0 {
		port = fromAddr
	}
	if rest != "" {
		p, err := name.ParsePort(rest[1:])
		if err != nil {
			r.fail("%q: %w", s, err)
			return name.Target{}
		}
		if fromAddr != 0 && fromAddr != p {
			r.fail("its port is %d and that of the address %d", p, fromAddr)
			return name.Target{}
		}
		port = p
	}
	h, err := name.ParseHost(host)
	if err != nil {
		r.fail("%q: %w", s, err)
		return name.Target{}
	}
	t, err := name.New(h, port)
	if err != nil {
		r.fail("%q: %w", s, err)
	}
	return t
}

func (r *reader) path() string {
	s := r.text("path")
	if r.err != nil {
		return ""
	}
	if !strings.HasPrefix(s, "/") {
		r.fail("%q does not start with a slash", s)
		return ""
	}
	for i := range len(s) {
		if !isPathChar(s[i]) || s[i] == '%' && !isEscape(s[i:]) {
			r.fail("%q may not stand in the path of a URI (RFC 3986, section 3.3)", s[i])
			return ""
		}
	}
	return s
}

func isPathChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/-._~%!$&'()*+,;=:@", c) >= 0
}

func isEscape(s string) bool {
	const hex = "0123456789abcdefABCDEF"
	return len(s) >= 3 && strings.IndexByte(hex, s[1]) >= 0 && strings.IndexByte(hex, s[2]) >= 0
}

func (r *reader) key() (k [keyLen]byte) {
	s := r.text("public key")
	if r.err == nil && len(s) != keyLen {
		r.fail("%d octets, and an Ed25519 key has %d", len(s), keyLen)
	}
	copy(k[:], s)
	return k
}

// provider reads the provider's name. That it starts with "2.dnscrypt-cert." is not asked for here.
func (r *reader) provider() string {
	s := r.text("provider name")
	if r.err != nil {
		return ""
	}
	if strings.HasSuffix(s, ".") {
		r.fail("%q ends in a dot", s)
		return ""
	}
	h, err := name.ParseHost(s)
	if err != nil {
		r.fail("%q: %w", s, err)
		return ""
	}
	n, ok := h.Name()
	if !ok {
		r.fail("%q is an address", s)
	}
	return n
}
