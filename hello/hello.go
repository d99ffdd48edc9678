// Package hello reads what a client says first, as far as it names whom the client wants: the ClientHello of TLS
// (RFC 8446, section 4.1.2) in a stream or in the first packets of QUIC (RFC 9001), and the Host of an HTTP/1 request.
//
// It promises that it reads no further than a limit, and that what it cannot read wholly names nobody. It never writes
// and never decides: what a client says of itself is a claim.
package hello

import (
	"bytes"
	"encoding/binary"
	"errors"

	"watertight/name"
)

// MaxStream is how much of a stream is looked at, in octets: what is longer names nobody.
const MaxStream = 32 << 10

// State is how far the reading has come.
type State int

// The states.
const (
	More    State = iota // what came so far may be the beginning of something that names a host
	Nothing              // it names nobody, or it cannot be read
	Named
)

// Said is what a client said.
type Said struct {
	Host name.Host // a name, never an address; valid where the state is Named
	// Hidden says that an encrypted ClientHello came with it (RFC 9849): Host may be a cover for the real name.
	Hidden bool
}

// Stream reads the beginning of a stream.
func Stream(b []byte) (Said, State) {
	switch {
	case len(b) == 0:
		return Said{}, More
	case b[0] == recordHandshake:
		return records(b)
	case b[0] >= 'A' && b[0] <= 'Z':
		return request(b)
	}
	return Said{}, Nothing
}

// Types of TLS (RFC 8446).
const (
	recordHandshake  = 22
	clientHello      = 1
	extServerName    = 0      // RFC 6066, section 3
	extEncryptedHelo = 0xfe0d // RFC 9849, section 5
	maxRecord        = 1<<14 + 256
)

// records puts the handshake together from its records (RFC 8446, section 5.1).
func records(b []byte) (Said, State) {
	var message []byte
	for total := 0; ; {
		if len(b) == 0 {
			break
		}
		if b[0] != recordHandshake || len(b) > 1 && b[1] != 3 {
			return Said{}, Nothing
		}
		if len(b) < 5 {
			break
		}
		n := int(binary.BigEndian.Uint16(b[3:]))
		if n == 0 || n > maxRecord {
			return Said{}, Nothing
		}
		if total += 5 + n; total > MaxStream {
			return Said{}, Nothing
		}
		whole := len(b) >= 5+n
		message = append(message, b[5:min(len(b), 5+n)]...)
		if said, state := handshake(message); state != More {
			return said, state
		}
		if !whole {
			break
		}
		b = b[5+n:]
	}
	return Said{}, More
}

// handshake reads a ClientHello, or the beginning of one.
func handshake(b []byte) (Said, State) {
	if len(b) > 0 && b[0] != clientHello {
		return Said{}, Nothing
	}
	if len(b) < 4 {
		return Said{}, More
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if n > MaxStream {
		return Said{}, Nothing
	}
	if len(b) < 4+n {
		return Said{}, More
	}
	said, err := readHello(b[4 : 4+n])
	if err != nil || !said.Host.IsValid() {
		return Said{Hidden: said.Hidden}, Nothing
	}
	return said, Named
}

var errMalformed = errors.New("hello: malformed")

// readHello reads a whole ClientHello.
func readHello(b []byte) (said Said, err error) {
	r := reader{b: b}
	r.take(2 + 32) // version, random
	r.vector(1)    // session
	r.vector(2)    // cipher suites
	r.vector(1)    // compression
	if !r.bad && len(r.b) == 0 {
		return Said{}, nil // no extensions (RFC 5246, section 7.4.1.2)
	}
	extensions := reader{b: r.vector(2)}
	if r.bad || len(r.b) != 0 {
		return Said{}, errMalformed
	}
	seen := false
	for len(extensions.b) > 0 {
		kind, body := extensions.number(2), extensions.vector(2)
		switch {
		case extensions.bad:
			return Said{}, errMalformed
		case kind == extEncryptedHelo:
			said.Hidden = true
		case kind == extServerName && seen:
			return Said{}, errMalformed
		case kind == extServerName:
			seen = true
			if said.Host, err = serverName(body); err != nil {
				return Said{}, err
			}
		}
	}
	return said, nil
}

// serverName reads the list of names, which has one (RFC 6066, section 3).
func serverName(b []byte) (name.Host, error) {
	const hostName = 0
	r := reader{b: b}
	list := reader{b: r.vector(2)}
	kind, text := list.number(1), list.vector(2)
	if r.bad || list.bad || len(r.b) != 0 || len(list.b) != 0 || kind != hostName {
		return name.Host{}, errMalformed
	}
	return hostOf(text)
}

// hostOf gives a host that is a name.
func hostOf(text []byte) (name.Host, error) {
	h, err := name.ParseHost(string(text))
	if err != nil {
		return name.Host{}, err
	}
	if _, isAddr := h.Addr(); isAddr {
		return name.Host{}, errMalformed
	}
	return h, nil
}

// maxMethod bounds the method of a request: no method that is registered is longer.
const maxMethod = 20

// request reads the Host of a request (RFC 9112, section 3.2). One with none, with several, or with another form of target
// than a path names nobody.
func request(b []byte) (Said, State) {
	for i := 0; i < len(b) && b[i] != ' '; i++ {
		if i >= maxMethod || (b[i] < 'A' || b[i] > 'Z') && b[i] != '-' {
			return Said{}, Nothing
		}
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) >= MaxStream {
			return Said{}, Nothing
		}
		return Said{}, More
	}
	lines := bytes.Split(b[:end], []byte("\r\n"))
	words := bytes.Split(lines[0], []byte(" "))
	if len(words) != 3 || !bytes.HasPrefix(words[2], []byte("HTTP/1.")) || !bytes.HasPrefix(words[1], []byte("/")) && string(words[1]) != "*" {
		return Said{}, Nothing
	}
	var host []byte
	for _, line := range lines[1:] {
		field, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(field) == 0 || bytes.ContainsAny(field, " \t") {
			return Said{}, Nothing
		}
		if bytes.EqualFold(field, []byte("host")) {
			if host != nil {
				return Said{}, Nothing
			}
			host = bytes.Trim(value, " \t")
			if len(host) == 0 {
				return Said{}, Nothing
			}
		}
	}
	if i := bytes.LastIndexByte(host, ':'); i >= 0 {
		if _, err := name.ParsePort(string(host[i+1:])); err != nil {
			return Said{}, Nothing
		}
		host = host[:i]
	}
	h, err := hostOf(host)
	if err != nil {
		return Said{}, Nothing
	}
	return Said{Host: h}, Named
}

// reader takes fields from the front of octets. After one that is not there it is bad, and gives nothing more.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) number(octets int) (n int) {
	for _, b := range r.take(octets) {
		n = n<<8 | int(b)
	}
	return n
}

// vector takes what has its length before it, in so many octets.
func (r *reader) vector(octets int) []byte { return r.take(r.number(octets)) }

// varint takes an integer of QUIC (RFC 9000, section 16).
func (r *reader) varint() uint64 {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	b := r.take(1 << (r.b[0] >> 6))
	if r.bad {
		return 0
	}
	var v [8]byte
	copy(v[8-len(b):], b)
	v[8-len(b)] &= 0x3f
	return binary.BigEndian.Uint64(v[:])
}

// counted takes what has its length before it as an integer of QUIC.
func (r *reader) counted() []byte {
	n := r.varint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	return r.take(int(n))
}
