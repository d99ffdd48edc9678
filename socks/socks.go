// Package socks is the SOCKS protocol in octets: version 4 and its extension 4a, version 5 (RFC 1928) with user and
// password (RFC 1929), and Tor's commands RESOLVE and RESOLVE_PTR.
//
// It promises that every length is bounded; that a server hands back each octet it read beyond the request, and
// that a client reads none beyond the reply. Hosts come out as [name.Host], so a name that is an address in
// disguise is an address. It never dials and never looks a name up: a name in a reply stays text.
package socks

import (
	"errors"
	"net/netip"
	"strconv"

	"watertight/fault"
	"watertight/name"
)

// Versions, the first octet of a client's message.
const (
	Version4 = 4
	Version5 = 5
)

// Command is what a client asks for.
type Command byte

// Commands of RFC 1928, section 4, and of Tor's extensions, section 2.
const (
	Connect    Command = 0x01
	Bind       Command = 0x02
	Associate  Command = 0x03
	Resolve    Command = 0xF0
	ResolvePTR Command = 0xF1
)

// Reply is a server's answer to a request (RFC 1928, section 6).
type Reply byte

// Replies of version 5. Version 4 knows granted and rejected only; [Request.AppendReply] translates.
const (
	Succeeded          Reply = 0x00
	GeneralFailure     Reply = 0x01
	NotAllowed         Reply = 0x02
	NetworkUnreachable Reply = 0x03
	HostUnreachable    Reply = 0x04
	ConnectionRefused  Reply = 0x05
	TTLExpired         Reply = 0x06
	CommandUnsupported Reply = 0x07
	AddressUnsupported Reply = 0x08
)

var replyText = [...]string{
	"succeeded", "general failure", "not allowed by the rules", "network unreachable", "host unreachable",
	"connection refused", "time to live expired", "command not supported", "address type not supported",
}

// String gives the words of RFC 1928, or the number.
func (r Reply) String() string {
	if int(r) < len(replyText) {
		return replyText[r]
	}
	return "reply " + strconv.Itoa(int(r))
}

// Methods of authentication (RFC 1928, section 3).
const (
	MethodNone     byte = 0x00
	MethodPassword byte = 0x02
	MethodRefused  byte = 0xFF
)

// Address types (RFC 1928, section 5).
const (
	atypIPv4 = 0x01
	atypName = 0x03
	atypIPv6 = 0x04
)

// MaxCredential is the most octets that a user or a password can have (RFC 1929, section 2).
const MaxCredential = 255

// Sub-negotiation versions: RFC 1929 says 1, and some clients (.NET before version 7) and servers say 5.
const (
	subVersion      = 0x01
	subVersionLoose = 0x05
)

// Errors of the server's side.
var (
	ErrVersion     = errors.New("socks: the first octet is neither version 4 nor 5")
	ErrNoMethod    = errors.New("socks: no method of authentication that is offered here")
	ErrAuthMessage = errors.New("socks: the message with user and password is malformed")
	ErrAuth        = errors.New("socks: the client is not let in")
	ErrPassword    = errors.New("socks: the client is not let in with that user and password") // beside ErrAuth
	ErrMalformed   = errors.New("socks: the request is malformed")
	ErrTooLong     = errors.New("socks: a text of more than 255 octets")
	ErrCommand     = errors.New("socks: the command is not supported")
	ErrAddressType = errors.New("socks: the address type is not supported")
	ErrHost        = errors.New("socks: the host is not valid")
)

// ReplyTo gives the reply that a client gets for an error of [ReadRequest]; false if it gets none: because the
// connection broke, because it speaks something else, or because the refusal is written already.
func ReplyTo(err error) (Reply, bool) {
	switch {
	case errors.Is(err, ErrCommand):
		return CommandUnsupported, true
	case errors.Is(err, ErrAddressType):
		return AddressUnsupported, true
	case errors.Is(err, ErrAuth) && !errors.Is(err, ErrPassword):
		return NotAllowed, true
	case errors.Is(err, ErrHost), errors.Is(err, ErrMalformed), errors.Is(err, ErrTooLong):
		return Reply(fault.BadRequest.SOCKSReply()), true
	}
	return 0, false
}

// Request is what a client asked for. The zero Version means that the client did not get as far as to say one.
type Request struct {
	Version byte
	Command Command
	Host    name.Host // not valid for Associate: it is not the client's to say where its datagrams come from
	Port    uint16    // as sent: 0 is possible, and usual for Resolve and Associate
}

// Bound is the address in a reply: what a server dialled from, or what it resolved. A name is kept as text.
type Bound struct {
	Addr netip.AddrPort // not valid where Name is set
	Name string         // at most 255 octets, unchecked
}

// bufferSize holds the longest message (user and password, 513 octets) with room for data that came early.
const bufferSize = 1024

// Buffer is the room that one handshake needs. Callers keep a pool of them.
type Buffer [bufferSize]byte
