package socks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"watertight/name"
)

// Errors of the client's side of version 4.
var (
	ErrIPv6     = errors.New("socks: version 4 has no room for an IPv6 address")
	ErrRejected = errors.New("socks: the server rejected the request, and version 4 does not say why")
	ErrIdent    = errors.New("socks: the server wants an ident daemon on this host to confirm the user")
)

// Results of version 4 that are about ident (RFC 1413): it cannot be reached, or says another user.
const (
	noIdent4    = 92
	otherIdent4 = 93
)

// reply4Size is the whole reply of version 4: version, result, port and address that mean nothing after CONNECT.
const reply4Size = 8

// AppendConnect4 appends a request of version 4 to connect to t as user, who may be empty: an IPv4 address as an
// address, and a name as version 4a has it, behind an address 0.0.0.1 that nobody has. An IPv6 address is [ErrIPv6].
func AppendConnect4(dst []byte, t name.Target, user string) ([]byte, error) {
	if len(user) > MaxCredential || strings.IndexByte(user, 0) >= 0 {
		return dst, ErrCredentials
	}
	addr, isAddr := t.Host().Addr()
	if isAddr && !addr.Unmap().Is4() {
		return dst, ErrIPv6
	}
	dst = append(dst, Version4, byte(Connect))
	dst = binary.BigEndian.AppendUint16(dst, t.Port())
	if isAddr {
		dst = append(dst, addr.Unmap().AsSlice()...)
	} else {
		dst = append(dst, 0, 0, 0, 1)
	}
	dst = append(append(dst, user...), 0)
	if !isAddr {
		host, _ := t.Host().Name() // at most name.MaxName octets, and none is NUL
		dst = append(append(dst, host...), 0)
	}
	return dst, nil
}

// ReadReply4 reads the reply of version 4: nil, [ErrRejected] or [ErrIdent]. It reads eight octets; after a failure it may
// read less, since nothing of use follows.
func ReadReply4(r io.Reader, buf *Buffer) error {
	b := buf[:reply4Size]
	n, err := io.ReadFull(r, b)
	switch {
	case n >= 1 && b[0] == 'H':
		return fmt.Errorf("%w: it seems to speak HTTP", ErrBadReply)
	case n >= 1 && b[0] != 0:
		return fmt.Errorf("%w: its first octet is %d", ErrBadReply, b[0])
	case n >= 2 && b[1] == rejected4:
		return ErrRejected
	case n >= 2 && (b[1] == noIdent4 || b[1] == otherIdent4):
		return ErrIdent
	case n >= 2 && b[1] != granted4:
		return fmt.Errorf("%w: result %d", ErrBadReply, b[1])
	}
	return err
}
