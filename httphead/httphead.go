// Package httphead reads the head of an HTTP/1 request, and its body, as strictly as the standard allows, and writes
// the refusals that a client can read.
//
// It promises that what it accepts has exactly one reading: no parser behind it can see another request in the same
// octets. Everything else is refused with a sentence that says what is wrong. It holds no name in an error, bounds
// everything it reads, and never opens a connection.
package httphead

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of what is read.
const (
	MaxHead   = 32 << 10 // octets of a request's head, with its request line
	MaxLine   = 8 << 10  // octets of a request line
	MaxFields = 100      // field lines of a head, and of a trailer section
)

// Error is a request that is refused as malformed. Its text is a sentence for the client and holds nothing that the
// client sent but characters shown as numbers.
type Error string

func (e Error) Error() string { return string(e) }

// TargetError is the refusal of a request for octets in its target that are not visible ASCII: for the door, which
// may know what was meant. Its text is the [Error]'s.
type TargetError struct {
	Target string // as it was sent; it is not for logs
	Err    Error
}

func (e *TargetError) Error() string { return e.Err.Error() }

// Unwrap gives the [Error].
func (e *TargetError) Unwrap() error { return e.Err }

// ErrHTTP2 is the preface of HTTP/2 with prior knowledge (RFC 9113, section 3.4).
const ErrHTTP2 = Error("this port speaks HTTP/1.1: the client began HTTP/2 without asking")

// Field is a field line (RFC 9112, section 5): the name as it was sent, the value without blanks around it.
type Field struct{ Name, Value string }

// Request is the head of a request. The framing of its body is certain.
type Request struct {
	Method string // a token; methods are case-sensitive
	Target string // the request target as it was sent, visible ASCII only
	Minor  int    // HTTP/1.Minor: 0 or 1
	Fields []Field

	Host          string // the value of Host; only HTTP/1.0 may come without
	HasHost       bool
	ContentLength int64 // octets of the body; -1 if the body is chunked
	Chunked       bool
}

// Get gives the value of the first field of that name, in any case of letters.
func (r *Request) Get(name string) string {
	for i := range r.Fields {
		if strings.EqualFold(r.Fields[i].Name, name) {
			return r.Fields[i].Value
		}
	}
	return ""
}

// Has says whether the list in all fields of that name holds the token, in any case of letters.
func (r *Request) Has(name, token string) bool {
	for i := range r.Fields {
		if !strings.EqualFold(r.Fields[i].Name, name) {
			continue
		}
		for part := range strings.SplitSeq(r.Fields[i].Value, ",") {
			if strings.EqualFold(strings.Trim(part, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// HasBody says that octets of a body follow the head.
func (r *Request) HasBody() bool { return r.Chunked || r.ContentLength > 0 }

// KeepAlive says whether the client means to send another request on the connection (RFC 9112, section 9.3).
func (r *Request) KeepAlive() bool {
	return r.Minor == 1 && !r.Has("Connection", "close") && !r.Has("Proxy-Connection", "close")
}

// Parse reads a whole head, with the empty line at its end and nothing after it. The error is or wraps an [Error].
func Parse(head string) (*Request, error) {
	r := &Request{}
	if err := r.parse(head); err != nil {
		return nil, err
	}
	return r, nil
}

// parse reads head into r, whose fields slice is used again.
func (r *Request) parse(head string) error {
	*r = Request{Fields: r.Fields[:0]}
	line, rest, err := cutLine(head)
	if err != nil {
		return err
	}
	if err := r.parseRequestLine(line); err != nil {
		return err
	}
	if r.Fields, err = parseFields(r.Fields, rest); err != nil {
		return err
	}
	return r.frame()
}

// cutLine takes a line up to its CRLF. A bare LF or CR, which some parsers take for an end of line and some for
// whitespace, is refused (RFC 9112, section 2.2).
func cutLine(s string) (line, rest string, err error) {
	line, rest, found := strings.Cut(s, "\n")
	switch {
	case !found:
		return "", "", Error("the request's head is cut short")
	case !strings.HasSuffix(line, "\r"):
		return "", "", errBareLF
	case strings.IndexByte(line, '\r') != len(line)-1:
		return "", "", Error("a carriage return stands inside a line of the request's head")
	}
	return line[:len(line)-1], rest, nil
}

const errBareLF = Error("a line of the request ends in LF alone: lines end in CRLF")

func (r *Request) parseRequestLine(line string) error {
	if strings.HasPrefix(line, "PRI * HTTP/2") {
		return ErrHTTP2
	}
	method, rest, ok := strings.Cut(line, " ")
	if !ok {
		return Error("the request line is not METHOD TARGET HTTP/1.1")
	}
	target, version, ok := strings.Cut(rest, " ")
	switch {
	case !ok || strings.IndexByte(version, ' ') >= 0:
		return Error("the request line is not METHOD TARGET HTTP/1.1 with single spaces between them")
	case !IsToken(method):
		return Error("the request's method is not a token")
	case target == "":
		return Error("the request has no target")
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f {
			return &TargetError{target, Error(fmt.Sprintf("the request's target holds the octet 0x%02x, which must be percent-encoded", c))}
		}
	}
	switch version {
	case "HTTP/1.1":
		r.Minor = 1
	case "HTTP/1.0":
		if method != "CONNECT" && method != "GET" && method != "HEAD" {
			return Error("HTTP/1.0 is accepted for CONNECT, GET and HEAD only: use HTTP/1.1")
		}
	default:
		return Error("the request's protocol version is neither HTTP/1.1 nor HTTP/1.0")
	}
	r.Method, r.Target = method, target
	return nil
}

// parseFields reads field lines up to the empty line, which must end s (RFC 9112, section 5).
func parseFields(fields []Field, s string) ([]Field, error) {
	for {
		line, rest, err := cutLine(s)
		if err != nil {
			return fields, err
		}
		if line == "" {
			if rest != "" {
				return fields, Error("octets follow the end of the request's head")
			}
			return fields, nil
		}
		if len(fields) == MaxFields {
			return fields, Error(fmt.Sprintf("the request has more than %d header fields", MaxFields))
		}
		f, err := parseField(line)
		if err != nil {
			return fields, err
		}
		fields = append(fields, f)
		s = rest
	}
}

func parseField(line string) (Field, error) {
	if line[0] == ' ' || line[0] == '\t' {
		return Field{}, Error("a header line begins with a blank: folded lines are obsolete")
	}
	name, value, ok := strings.Cut(line, ":")
	switch {
	case !ok:
		return Field{}, Error("a header line has no colon")
	case name == "":
		return Field{}, Error("a header line has no name")
	case name[len(name)-1] == ' ' || name[len(name)-1] == '\t':
		return Field{}, Error("a blank stands between a header's name and its colon")
	case !IsToken(name):
		return Field{}, Error("a header's name is not a token")
	}
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		// RFC 9110, section 5.5: visible characters, blanks and octets from 0x80.
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return Field{}, Error(fmt.Sprintf("a header's value holds the control character 0x%02x", c))
		}
	}
	return Field{name, value}, nil
}

// frame settles where the body ends (RFC 9112, section 6.3). Where the standard lets a recipient mend a doubtful
// message, the message is refused.
func (r *Request) frame() error {
	var length, encoding string
	var lengths, encodings, hosts int
	for i := range r.Fields {
		switch f := &r.Fields[i]; len(f.Name) {
		case len("Host"):
			if strings.EqualFold(f.Name, "Host") {
				hosts++
				r.Host, r.HasHost = f.Value, true
			}
		case len("Content-Length"):
			if strings.EqualFold(f.Name, "Content-Length") {
				lengths++
				length = f.Value
			}
		case len("Transfer-Encoding"):
			if strings.EqualFold(f.Name, "Transfer-Encoding") {
				encodings++
				encoding = f.Value
			}
		}
	}
	switch {
	case hosts > 1:
		return Error("the request has more than one Host header")
	case hosts == 0 && r.Minor == 1:
		return Error("the request has no Host header, which HTTP/1.1 asks for")
	case lengths > 0 && encodings > 0:
		return Error("the request has both Content-Length and Transfer-Encoding: where its body ends is doubtful")
	case lengths > 1:
		return Error("the request has more than one Content-Length header")
	case encodings > 1:
		return Error("the request has more than one Transfer-Encoding header")
	case encodings == 1 && r.Minor == 0:
		return Error("a request of HTTP/1.0 has no Transfer-Encoding")
	case encodings == 1 && !strings.EqualFold(encoding, "chunked"):
		return Error("the request's Transfer-Encoding is not exactly chunked")
	case encodings == 1:
		r.Chunked, r.ContentLength = true, -1
		return nil
	case lengths == 1:
		return r.setLength(length)
	}
	return nil
}

// errLength is the refusal of a Content-Length.
const errLength = Error("the request's Content-Length is not one plain decimal number")

func (r *Request) setLength(s string) error {
	if s == "" || len(s) > 18 { // 18 digits fit in 63 bits
		return errLength
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return errLength
		}
		r.ContentLength = r.ContentLength*10 + int64(s[i]-'0')
	}
	return nil
}

// IsToken says whether s is a token (RFC 9110, section 5.6.2).
func IsToken(s string) bool {
	for i := range len(s) {
		if !tokenChar[s[i]] {
			return false
		}
	}
	return s != ""
}

var tokenChar = func() (t [256]bool) {
	for c := range t {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		t[c] = letter || c > ' ' && c < 0x7f && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return t
}()

// IsMalformed says whether err is a refusal of this package, and not an error of the connection.
func IsMalformed(err error) bool {
	var e Error
	return errors.As(err, &e)
}
