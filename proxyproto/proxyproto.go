// Package proxyproto reads the PROXY protocol, versions 1 and 2, by which a balancer says for whom a connection is (the
// specification of HAProxy, section 2).
//
// It promises that a header has one reading, that what is not one is an error and never a part of what follows, and that its
// length is bounded. It says nothing about whether the sender may be believed: that is for the door. It never reads by itself.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Limits in octets.
const (
	maxLine = 107     // of version 1, with its end (section 2.1)
	MaxLen  = 4 << 10 // of version 2: the addresses and the additions that are passed over
)

// Errors of Parse.
var (
	ErrShort     = errors.New("proxyproto: the header goes on")
	ErrMalformed = errors.New("proxyproto: not a header of the PROXY protocol")
)

// Header is what a balancer says of a connection. Without addresses the connection is the balancer's own, or it does not
// know: then the addresses are those of the connection.
type Header struct {
	Source, Destination netip.AddrPort
}

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// Parse reads the header at the beginning of b, and gives how many octets it has. The error is [ErrShort] where b is the
// beginning of a header, and [ErrMalformed] where it is that of none.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case begins(b, signature):
		return version2(b)
	case begins(b, "PROXY "):
		return version1(b)
	}
	return Header{}, 0, ErrMalformed
}

// begins says whether b begins with s, or is a beginning of it.
func begins(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// version1 reads `PROXY TCP4 SOURCE DESTINATION PORT PORT` (section 2.1).
func version1(b []byte) (Header, int, error) {
	end := bytes.Index(b[:min(len(b), maxLine)], []byte("\r\n"))
	switch {
	case end < 0 && len(b) < maxLine:
		return Header{}, 0, ErrShort
	case end < 0:
		return Header{}, 0, ErrMalformed
	}
	n := end + 2
	words := strings.Split(string(b[:end]), " ")
	if len(words) >= 2 && words[1] == "UNKNOWN" {
		return Header{}, n, nil // what follows is passed over
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return Header{}, 0, ErrMalformed
	}
	var h Header
	for i, to := range []*netip.AddrPort{&h.Source, &h.Destination} {
		addr, err := netip.ParseAddr(words[2+i])
		port, ok := parsePort(words[4+i])
		if err != nil || addr.Zone() != "" || addr.Is4() != (words[1] == "TCP4") || !ok {
			return Header{}, 0, ErrMalformed
		}
		*to = netip.AddrPortFrom(addr.Unmap(), port)
	}
	return h, n, nil
}

// parsePort reads a port in decimal digits without zeros before it.
func parsePort(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && strconv.FormatUint(n, 10) == s
}

// version2 reads the binary header (section 2.2).
func version2(b []byte) (Header, int, error) {
	const fixed = len(signature) + 4
	if len(b) < fixed {
		return Header{}, 0, ErrShort
	}
	command, family := b[12], b[13]
	size := int(binary.BigEndian.Uint16(b[14:]))
	if size > MaxLen || command != 0x20 && command != 0x21 {
		return Header{}, 0, ErrMalformed
	}
	if len(b) < fixed+size {
		return Header{}, 0, ErrShort
	}
	n, body := fixed+size, b[fixed:fixed+size]
	if command == 0x20 || family == 0 { // LOCAL, or of no family: the addresses mean nothing
		return Header{}, n, nil
	}
	var length int
	switch family {
	case 0x11: // TCP over IPv4
		length = 4
	case 0x21: // TCP over IPv6
		length = 16
	default:
		return Header{}, 0, ErrMalformed
	}
	if len(body) < 2*length+4 {
		return Header{}, 0, ErrMalformed
	}
	source, _ := netip.AddrFromSlice(body[:length])
	destination, _ := netip.AddrFromSlice(body[length : 2*length])
	ports := body[2*length:]
	return Header{
		netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(ports)),
		netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(ports[2:])),
	}, n, nil
}
