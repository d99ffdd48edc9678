package socks

import (
	"encoding/binary"
	"net/netip"
)

// Codes of version 4.
const (
	granted4  = 90
	rejected4 = 91
)

// AppendReply appends the reply to r in r's version. bound may be the zero AddrPort, which stands for 0.0.0.0:0:
// what the proxy dialled from is nobody's business. Version 4 has room for an IPv4 address only.
func (r Request) AppendReply(dst []byte, code Reply, bound netip.AddrPort) []byte {
	addr := bound.Addr().Unmap()
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	if r.Version == Version4 {
		return appendReply4(dst, code, addr, bound.Port())
	}
	dst = append(dst, Version5, byte(code), 0)
	dst = appendAddr(dst, addr)
	return binary.BigEndian.AppendUint16(dst, bound.Port())
}

func appendReply4(dst []byte, code Reply, addr netip.Addr, port uint16) []byte {
	result := byte(rejected4)
	if code == Succeeded {
		result = granted4
	}
	if !addr.Is4() {
		addr = netip.IPv4Unspecified()
	}
	dst = append(dst, 0, result)
	dst = binary.BigEndian.AppendUint16(dst, port)
	return append(dst, addr.AsSlice()...)
}

// AppendNameReply appends a success that carries a name: the answer to [ResolvePTR], which version 4 lacks. A name
// that has no room in a reply makes it a failure.
func (r Request) AppendNameReply(dst []byte, answer string) []byte {
	if r.Version != Version5 || answer == "" || len(answer) > 255 {
		return r.AppendReply(dst, HostUnreachable, netip.AddrPort{})
	}
	dst = append(dst, Version5, byte(Succeeded), 0, atypName, byte(len(answer)))
	dst = append(dst, answer...)
	return append(dst, 0, 0)
}

// appendAddr appends an address with its type before it.
func appendAddr(dst []byte, addr netip.Addr) []byte {
	if addr.Is4() {
		four := addr.As4()
		return append(append(dst, atypIPv4), four[:]...)
	}
	sixteen := addr.As16()
	return append(append(dst, atypIPv6), sixteen[:]...)
}
