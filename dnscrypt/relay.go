package dnscrypt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// RelayHeaderLen is what stands before a query for a relay: the magic, an IPv6 address and a port.
const RelayHeaderLen = anonMagicLen + 16 + 2

const anonMagicLen = 10

var anonMagic = [anonMagicLen]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0}

// AppendRelayHeader appends what tells a relay to send the rest of the packet to this server (ANONYMIZED-DNSCRYPT,
// section 2). An IPv4 address is written mapped into IPv6. A server without port or address, or with a zone, is
// [ErrRelay]; one that only a relay may refuse, such as a private address, is not.
func AppendRelayHeader(dst []byte, server netip.AddrPort) ([]byte, error) {
	if err := checkServer(server); err != nil {
		return dst, err
	}
	dst = append(dst, anonMagic[:]...)
	a := server.Addr().As16()
	dst = append(dst, a[:]...)
	return binary.BigEndian.AppendUint16(dst, server.Port()), nil
}

func checkServer(server netip.AddrPort) error {
	a := server.Addr().Unmap()
	switch {
	case !a.IsValid() || a.IsUnspecified():
		return fmt.Errorf("%w: there is no address", ErrRelay)
	case a.Zone() != "":
		return fmt.Errorf("%w: an IPv6 zone has no meaning beyond this host", ErrRelay)
	case server.Port() == 0:
		return fmt.Errorf("%w: there is no port", ErrRelay)
	}
	return nil
}

// ParseRelayed reads a packet as a relay gets it and gives the server and the packet that is to be sent there: a query,
// or one in clear for the certificates (section 3). A packet without the header is [ErrMagic]. What must not be sent
// on, because it leads to another relay or could be taken for QUIC, is [ErrRelay]. Where relays may send at all says
// [MayRelay].
func ParseRelayed(packet []byte) (server netip.AddrPort, inner []byte, err error) {
	if !bytes.HasPrefix(packet, anonMagic[:]) {
		return server, nil, fmt.Errorf("%w: a packet for a relay starts otherwise", ErrMagic)
	}
	if len(packet) < RelayHeaderLen+dnsHeader {
		return server, nil, fmt.Errorf("%w: a packet of %d octets for a relay", ErrMalformed, len(packet))
	}
	addr := netip.AddrFrom16([16]byte(packet[anonMagicLen:])).Unmap()
	server = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(packet[RelayHeaderLen-2:]))
	inner = packet[RelayHeaderLen:]
	if err := checkServer(server); err != nil {
		return netip.AddrPort{}, nil, err
	}
	switch {
	case bytes.HasPrefix(inner, anonMagic[:]):
		return netip.AddrPort{}, nil, fmt.Errorf("%w: it leads to another relay", ErrRelay)
	case looksLikeQUIC(inner):
		return netip.AddrPort{}, nil, fmt.Errorf("%w: it could be taken for QUIC", ErrRelay)
	}
	return server, inner, nil
}

// reserved are networks that no relay may send to, beside those that netip knows as private, loopback, link-local,
// multicast or unspecified (RFC 6890 and its registries). Addresses that hold an IPv4 address are among them: what they
// lead to depends on the network.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// MayRelay says whether a relay may send to this server (sections 3 and 4): to a public address, and to one of these
// ports; none means [Port] alone. The refusal is [ErrRelay].
func MayRelay(server netip.AddrPort, ports ...uint16) error {
	if err := checkServer(server); err != nil {
		return err
	}
	a := server.Addr().Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return fmt.Errorf("%w: the address is not a public one", ErrRelay)
	}
	if len(ports) == 0 {
		ports = []uint16{Port}
	}
	if !slices.Contains(ports, server.Port()) {
		return fmt.Errorf("%w: port %d is not one of the permitted", ErrRelay, server.Port())
	}
	return nil
}

// certAnswer is what an answer with certificates has after its ID and flags: one question, one answer, and a name that
// starts with "2.dnscrypt-cert".
var certAnswer = []byte("\x00\x01\x00\x01\x00\x00\x00\x00\x012\x0ddnscrypt-cert")

// CheckRelayed says whether a relay may send a server's response back (section 3): it is shorter than the packet that
// was sent to the server, and it is the response to it or an answer with a certificate. The refusal is [ErrRelay].
func CheckRelayed(inner, response []byte) error {
	if len(response) >= len(inner) {
		return fmt.Errorf("%w: a response of %d octets to a query of %d", ErrRelay, len(response), len(inner))
	}
	const nonceAt = magicLen + keyLen
	if len(inner) >= nonceAt+halfNonce && len(response) >= ResponseOverhead && [magicLen]byte(response) == resolverMagic &&
		bytes.Equal(response[magicLen:magicLen+halfNonce], inner[nonceAt:nonceAt+halfNonce]) {
		return nil
	}
	if len(response) > 4 && bytes.HasPrefix(response[4:], certAnswer) {
		return nil
	}
	return fmt.Errorf("%w: neither a response to the query nor a certificate", ErrRelay)
}
