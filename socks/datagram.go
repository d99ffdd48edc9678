package socks

import (
	"encoding/binary"
	"errors"

	"watertight/name"
)

// MaxDatagramHeader is the most octets that come before the payload of a datagram: those of the longest name.
const MaxDatagramHeader = 4 + 1 + 255 + 2

// ErrDatagram is what is no datagram of SOCKS.
var ErrDatagram = errors.New("socks: the header of the datagram is malformed")

// AppendAssociate appends the request for an association of datagrams (RFC 1928, section 4). Where they will come from
// is not known yet, and all zeros say so.
func AppendAssociate(dst []byte) []byte { return AppendAssociateFrom(dst, 0) }

// AppendAssociateFrom is AppendAssociate where it is known from which port they will come, so that the relay takes those of no other.
func AppendAssociateFrom(dst []byte, port uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, Version5, byte(Associate), 0, atypIPv4, 0, 0, 0, 0), port)
}

// Datagram is what travels between a client and the relay (RFC 1928, section 7): a payload, with where it is going, or
// where it comes from.
type Datagram struct {
	Fragment byte // its number; 0 stands alone
	Host     name.Host
	Port     uint16 // as sent: 0 is possible
	Payload  []byte // a part of what was read
}

// AppendDatagramHeader appends what comes before a payload that goes to t, or comes from there: a name as a name, an
// address as an address.
func AppendDatagramHeader(dst []byte, t name.Target) []byte {
	return appendTarget(append(dst, 0, 0, 0), t)
}

// ParseDatagram reads a datagram. A host that is not valid is [ErrHost], and all else that is wrong is [ErrDatagram].
// The two reserved octets are not looked at: there are servers that leave something there.
func ParseDatagram(b []byte) (Datagram, error) {
	if len(b) < 5 {
		return Datagram{}, ErrDatagram
	}
	var start, size int
	switch b[3] {
	case atypIPv4:
		start, size = 4, 4
	case atypIPv6:
		start, size = 4, 16
	case atypName:
		start, size = 5, int(b[4])
	default:
		return Datagram{}, ErrDatagram
	}
	end := start + size + 2
	if len(b) < end {
		return Datagram{}, ErrDatagram
	}
	host, err := hostOf(b[3], b[start:start+size])
	if err != nil {
		return Datagram{}, err
	}
	return Datagram{Fragment: b[2], Host: host, Port: binary.BigEndian.Uint16(b[start+size:]), Payload: b[end:]}, nil
}
