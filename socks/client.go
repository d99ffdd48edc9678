package socks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"watertight/name"
)

// Errors of the client's side.
var (
	ErrNotSOCKS    = errors.New("socks: the server does not speak SOCKS 5")
	ErrAuthFailed  = errors.New("socks: the server refused user and password")
	ErrBadReply    = errors.New("socks: the server's reply is malformed")
	ErrCredentials = errors.New("socks: a user has 1 to 255 octets, a password at most 255")
)

// AppendGreeting appends the offer of one method: whoever has a password means it to be used, and whoever has none
// has nothing else to offer.
func AppendGreeting(dst []byte, method byte) []byte {
	return append(dst, Version5, 1, method)
}

// ReadMethod reads the server's choice of a method, [MethodRefused] among them. It reads two octets.
func ReadMethod(r io.Reader, buf *Buffer) (byte, error) {
	b := buf[:2]
	if n, err := io.ReadFull(r, b); err != nil {
		if n > 0 && b[0] != Version5 {
			return 0, notSOCKS(b[0])
		}
		return 0, err
	}
	if b[0] != Version5 {
		return 0, notSOCKS(b[0])
	}
	return b[1], nil
}

func notSOCKS(first byte) error {
	if first == 'H' {
		return fmt.Errorf("%w: it seems to speak HTTP", ErrNotSOCKS)
	}
	return fmt.Errorf("%w: its first octet is %d", ErrNotSOCKS, first)
}

// AppendPassword appends user and password (RFC 1929, section 2).
func AppendPassword(dst []byte, user, password string) ([]byte, error) {
	if user == "" || len(user) > MaxCredential || len(password) > MaxCredential {
		return dst, ErrCredentials
	}
	dst = append(dst, subVersion, byte(len(user)))
	dst = append(dst, user...)
	dst = append(dst, byte(len(password)))
	return append(dst, password...), nil
}

// ReadPasswordReply reads the server's verdict on user and password: nil, or [ErrAuthFailed]. It reads two octets.
// The version is not looked at: servers put 1 or 5 there.
func ReadPasswordReply(r io.Reader, buf *Buffer) error {
	b := buf[:2]
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	if b[0] != subVersion && b[0] != subVersionLoose {
		return fmt.Errorf("%w: sub-negotiation version %d", ErrBadReply, b[0])
	}
	if b[1] != 0 {
		return fmt.Errorf("%w: status %d", ErrAuthFailed, b[1])
	}
	return nil
}

// AppendRequest appends a request for t: a name as a name, an address as an address (RFC 1928, section 4).
func AppendRequest(dst []byte, c Command, t name.Target) []byte {
	return appendTarget(append(dst, Version5, byte(c), 0), t)
}

// appendTarget appends host and port with the type of address before them.
func appendTarget(dst []byte, t name.Target) []byte {
	if addr, ok := t.Host().Addr(); ok {
		dst = appendAddr(dst, addr)
	} else {
		host, _ := t.Host().Name() // at most name.MaxName octets
		dst = append(dst, atypName, byte(len(host)))
		dst = append(dst, host...)
	}
	return binary.BigEndian.AppendUint16(dst, t.Port())
}

// The shortest reply carries a name of no octets: version, reply, reserved, type, length, port.
const shortestReply = 7

// ReadReply reads the reply to a request (RFC 1928, section 6) and not one octet more. After a failure it may read
// less: nothing of use follows, and some servers end the reply early.
func ReadReply(r io.Reader, buf *Buffer) (Reply, Bound, error) {
	b := buf[:shortestReply]
	n, err := io.ReadFull(r, b)
	if n >= 1 && b[0] != Version5 {
		return 0, Bound{}, fmt.Errorf("%w: version %d", ErrBadReply, b[0])
	}
	if n >= 2 && b[1] != byte(Succeeded) {
		return Reply(b[1]), Bound{}, nil
	}
	if err != nil {
		return 0, Bound{}, err
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
		return 0, Bound{}, fmt.Errorf("%w: address type %d", ErrBadReply, b[3])
	}
	message := buf[:start+size+2]
	if _, err := io.ReadFull(r, message[shortestReply:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, Bound{}, err
	}
	host, port := message[start:start+size], binary.BigEndian.Uint16(message[start+size:])
	if b[3] == atypName {
		return Succeeded, Bound{Name: string(host)}, nil
	}
	addr, _ := netip.AddrFromSlice(host)
	return Succeeded, Bound{Addr: netip.AddrPortFrom(addr.Unmap(), port)}, nil
}
