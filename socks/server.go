package socks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"watertight/name"
)

// maxEmptyReads bounds how often a reader may give nothing and no error.
const maxEmptyReads = 100

// input is what a client has sent and was not looked at yet: first the octets that someone else read, then those
// in buf, of which it is a part.
type input struct {
	unread []byte
	buf    []byte
	from   io.Reader
}

// need reads until n octets are unread. It may read more, as far as buf goes.
func (in *input) need(n int) error {
	for empty := 0; len(in.unread) < n; {
		kept := copy(in.buf, in.unread)
		got, err := in.from.Read(in.buf[kept:])
		in.unread = in.buf[:kept+got]
		if len(in.unread) >= n {
			return nil
		}
		if err == io.EOF && len(in.unread) > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if got == 0 {
			if empty++; empty > maxEmptyReads {
				return io.ErrNoProgress
			}
		}
	}
	return nil
}

// take gives the next n octets, which need has made sure of, and moves past them. They are valid until need is
// called again.
func (in *input) take(n int) []byte {
	b := in.unread[:n]
	in.unread = in.unread[n:]
	return b
}

// ReadRequest is the server's side of a handshake up to the request: it reads from rw what a client sends, and
// writes to it what comes before the reply. head holds octets that were read from rw before.
//
// early is what the client sent after its request, not waiting for the reply; it is a part of head or of buf. Where
// err is not nil, the Request holds what is known, so that the client can be told ([ReplyTo], [Request.AppendReply]).
//
// a decides who is let in. It is asked once, before the request is read in version 5, and after it in version 4. What it
// says against a client is wrapped by [ErrAuth].
func ReadRequest(rw io.ReadWriter, head []byte, buf *Buffer, a Admission) (req Request, early []byte, err error) {
	in := input{unread: head, buf: buf[:], from: rw}
	if err := in.need(1); err != nil {
		return Request{}, nil, err
	}
	switch in.unread[0] {
	case Version4:
		var user string
		if req, user, err = in.request4(); err == nil {
			err = admit(a, user, "")
		}
	case Version5:
		if err := in.negotiate(rw, a); err != nil {
			return Request{Version: Version5}, nil, err
		}
		req, err = in.request5()
	default:
		return Request{}, nil, ErrVersion
	}
	return req, in.unread, err
}

// Admission says who is let in.
type Admission interface {
	// NeedsPassword says that who has no password is refused.
	NeedsPassword() bool
	// Admit lets a client in, or says why not. Who offers no name has neither user nor password; version 4 knows no
	// password.
	Admit(user, password string) error
}

// Everyone is the admission of a server that asks nobody who he is.
type Everyone struct{}

// NeedsPassword says no.
func (Everyone) NeedsPassword() bool { return false }

// Admit lets everyone in.
func (Everyone) Admit(_, _ string) error { return nil }

var _ Admission = Everyone{}

// admit asks for a client's admission.
func admit(a Admission, user, password string) error {
	if err := a.Admit(user, password); err != nil {
		return fmt.Errorf("%w: %w", ErrAuth, err)
	}
	return nil
}

// negotiate agrees on a method of authentication (RFC 1928, section 3). Who offers a password has a name to give, which
// may say more than that the client is let in.
func (in *input) negotiate(w io.Writer, a Admission) error {
	if err := in.need(2); err != nil {
		return err
	}
	count := int(in.unread[1])
	if err := in.need(2 + count); err != nil {
		return err
	}
	switch methods := in.take(2 + count)[2:]; {
	case slices.Contains(methods, MethodPassword):
		if err := say(w, choosePassword); err != nil {
			return err
		}
		return in.password(w, a)
	case slices.Contains(methods, MethodNone) && !a.NeedsPassword():
		if err := say(w, chooseNone); err != nil {
			return err
		}
		return admit(a, "", "")
	}
	if err := say(w, chooseRefused); err != nil {
		return err
	}
	return ErrNoMethod
}

// What a server says before the reply. The octets are shared, so that saying them allocates nothing.
var (
	chooseNone      = []byte{Version5, MethodNone}
	choosePassword  = []byte{Version5, MethodPassword}
	chooseRefused   = []byte{Version5, MethodRefused}
	passwordGood    = []byte{subVersion, 0}
	passwordGood5   = []byte{subVersionLoose, 0}
	passwordRefused = []byte{subVersion, 1}
	passwordBad5    = []byte{subVersionLoose, 1}
)

func say(w io.Writer, octets []byte) error {
	_, err := w.Write(octets)
	return err
}

// password reads a user and a password (RFC 1929, section 2) and answers in the client's version: those that send
// 5 expect 5.
func (in *input) password(w io.Writer, a Admission) error {
	if err := in.need(2); err != nil {
		return err
	}
	version, userLen := in.unread[0], int(in.unread[1])
	if version != subVersion && version != subVersionLoose {
		if err := say(w, passwordRefused); err != nil {
			return err
		}
		return ErrAuthMessage
	}
	if err := in.need(2 + userLen + 1); err != nil {
		return err
	}
	length := 2 + userLen + 1 + int(in.unread[2+userLen])
	if err := in.need(length); err != nil {
		return err
	}
	message := in.take(length)
	good, bad := passwordGood, passwordRefused
	if version == subVersionLoose {
		good, bad = passwordGood5, passwordBad5
	}
	if err := admit(a, string(message[2:2+userLen]), string(message[2+userLen+1:])); err != nil {
		return errors.Join(ErrPassword, err, say(w, bad))
	}
	return say(w, good)
}

// request5 reads a request of version 5 (RFC 1928, section 4). It is read whole before it is judged, so that what
// follows it is known.
func (in *input) request5() (Request, error) {
	req := Request{Version: Version5}
	if err := in.need(5); err != nil {
		return req, err
	}
	version, command, atyp, first := in.unread[0], in.unread[1], in.unread[3], in.unread[4]
	if version != Version5 {
		return req, fmt.Errorf("%w: version %d", ErrMalformed, version)
	}
	req.Command = Command(command)
	var start, size int
	switch atyp {
	case atypIPv4:
		start, size = 4, 4
	case atypIPv6:
		start, size = 4, 16
	case atypName:
		start, size = 5, int(first)
	default:
		return req, fmt.Errorf("%w: type %d", ErrAddressType, atyp)
	}
	if err := in.need(start + size + 2); err != nil {
		return req, err
	}
	message := in.take(start + size + 2)
	req.Port = binary.BigEndian.Uint16(message[start+size:])
	switch req.Command {
	case Connect, Associate, Resolve, ResolvePTR:
	default:
		return req, fmt.Errorf("%w: command %d", ErrCommand, command)
	}
	if req.Command == Associate {
		return req, nil // clients write what they like there: nothing, 0, or an address that others see differently
	}
	var err error
	req.Host, err = hostOf(atyp, message[start:start+size])
	return req, err
}

func hostOf(atyp byte, b []byte) (name.Host, error) {
	var host name.Host
	var err error
	if atyp == atypName {
		host, err = name.ParseHost(string(b))
	} else {
		addr, _ := netip.AddrFromSlice(b)
		host, err = name.FromAddr(addr)
	}
	if err != nil {
		return name.Host{}, fmt.Errorf("%w: %w", ErrHost, err)
	}
	return host, nil
}

// request4 reads a request of version 4, and the user. An address of 0.0.0.x with x not 0 announces a name after the
// user's (SOCKS 4a).
func (in *input) request4() (req Request, user string, err error) {
	req = Request{Version: Version4}
	if err := in.need(8); err != nil {
		return req, "", err
	}
	fixed := in.take(8)
	req.Command = Command(fixed[1])
	req.Port = binary.BigEndian.Uint16(fixed[2:])
	addr := netip.AddrFrom4([4]byte(fixed[4:]))
	octets, err := in.text()
	if err != nil {
		return req, "", err
	}
	user = string(octets)
	var named []byte
	four := addr.As4()
	is4a := four[0] == 0 && four[1] == 0 && four[2] == 0 && four[3] != 0
	if is4a {
		if named, err = in.text(); err != nil {
			return req, user, err
		}
	}
	switch req.Command {
	case Connect, Resolve:
	default:
		return req, user, fmt.Errorf("%w: command %d", ErrCommand, req.Command)
	}
	if is4a {
		req.Host, err = hostOf(atypName, named)
	} else {
		req.Host, err = name.FromAddr(addr)
	}
	return req, user, err
}

// text reads up to an octet 0, which it removes.
func (in *input) text() ([]byte, error) {
	for seen := 0; ; {
		window := in.unread[seen:min(len(in.unread), MaxCredential+1)]
		if i := bytes.IndexByte(window, 0); i >= 0 {
			return in.take(seen + i + 1)[:seen+i], nil
		}
		seen += len(window)
		if seen > MaxCredential {
			return nil, ErrTooLong
		}
		if err := in.need(seen + 1); err != nil {
			return nil, err
		}
	}
}
