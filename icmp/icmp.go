// Package icmp makes the messages of ICMP by which a sender of datagrams is told that nobody takes them.
//
// It promises that a message is about the one datagram that it is made for. It sends nothing: octets out.
package icmp

import (
	"encoding/binary"
	"net/netip"
)

// Numbers of the messages (RFC 792; RFC 4443, section 3.1).
const (
	unreachable4     = 3
	codePort4        = 3
	unreachable6     = 1
	codePort6        = 4
	header           = 8
	ipv4Header       = 20
	ipv6Header       = 40
	udpHeader        = 8
	udp              = 17
	hopLimit         = 64
	ipv4FirstOctet   = 4<<4 | ipv4Header/4
	ipv6FirstOctet   = 6 << 4
	checksumInIPv4   = 10
	checksumInHeader = 2
)

// PortUnreachable gives the message which says that no port takes a datagram of UDP: what follows the header of IP. It begins with
// the header of the datagram and has none of what it held; that is enough for the sender's system to find the socket. For IPv6
// the checksum is left to the system that sends it (RFC 3542, section 3.1). It gives nil where the two addresses are not of one
// family.
func PortUnreachable(from, to netip.AddrPort) []byte {
	src, dst := from.Addr().Unmap(), to.Addr().Unmap()
	switch {
	case src.Is4() && dst.Is4():
		b := make([]byte, header+ipv4Header+udpHeader)
		b[0], b[1] = unreachable4, codePort4
		ip := b[header:]
		ip[0] = ipv4FirstOctet
		binary.BigEndian.PutUint16(ip[2:], ipv4Header+udpHeader)
		ip[8], ip[9] = hopLimit, udp
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(ip[checksumInIPv4:], checksum(ip[:ipv4Header]))
		putUDP(ip[ipv4Header:], from.Port(), to.Port())
		binary.BigEndian.PutUint16(b[checksumInHeader:], checksum(b))
		return b
	case src.Is6() && dst.Is6():
		b := make([]byte, header+ipv6Header+udpHeader)
		b[0], b[1] = unreachable6, codePort6
		ip := b[header:]
		ip[0] = ipv6FirstOctet
		binary.BigEndian.PutUint16(ip[4:], udpHeader)
		ip[6], ip[7] = udp, hopLimit
		copy(ip[8:], src.AsSlice())
		copy(ip[24:], dst.AsSlice())
		putUDP(ip[ipv6Header:], from.Port(), to.Port())
		return b
	}
	return nil
}

func putUDP(b []byte, from, to uint16) {
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], udpHeader)
}

// checksum is that of RFC 1071, of an even number of octets.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
