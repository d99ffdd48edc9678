package httphead

import (
	"bytes"
	"fmt"
	"io"
)

// maxChunkLine bounds the line with a chunk's size and its extensions, which are read over.
const maxChunkLine = 256

// maxTrailers bounds a trailer section.
const maxTrailers = 8 << 10

// Body is the body of a request that [Reader.Next] gave. It gives octets as they come and never waits to fill a
// buffer. It ends with [io.EOF] exactly at the end of the request; its error is an [Error] if the client's framing is
// malformed, [io.ErrUnexpectedEOF] if the connection ended before the body did, or the connection's.
type Body struct {
	r       *Reader
	chunked bool
	left    int64 // octets of the body, or of the current chunk
	first   bool  // no chunk was begun
	err     error // what every further Read gives
	// Trailers are the field lines after a chunked body, once Read gave io.EOF.
	Trailers []Field
}

// Body gives the body of a request.
func (r *Reader) Body(q *Request) *Body {
	b := &Body{r: r, chunked: q.Chunked, left: q.ContentLength, first: true}
	switch {
	case q.Chunked:
		b.left = 0
	case q.ContentLength == 0:
		b.err = io.EOF
	}
	return b
}

// Ended says that the body was read to its end: the next request begins behind it.
func (b *Body) Ended() bool { return b.err == io.EOF }

// Read reads octets of the body.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.left == 0 {
		if b.err = b.nextChunk(); b.err != nil {
			return 0, b.err
		}
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	switch {
	case err == io.EOF && b.left > 0:
		b.err = io.ErrUnexpectedEOF
	case err != nil && err != io.EOF:
		b.err = err
	case b.left == 0 && !b.chunked:
		b.err = io.EOF
	}
	return n, b.err
}

// nextChunk reads the line with the size of the next chunk. After the last one it reads the trailer section, and its
// error is io.EOF.
func (b *Body) nextChunk() error {
	if !b.first {
		line, err := b.line(2)
		if line != "" || err == errFramingLine {
			return Error("a chunk of the request's body is longer than its size")
		}
		if err != nil {
			return err
		}
	}
	b.first = false
	line, err := b.line(maxChunkLine)
	if err != nil {
		return err
	}
	size, err := chunkSize(line)
	if err != nil {
		return err
	}
	b.left = size
	if size > 0 {
		return nil
	}
	if b.Trailers, err = b.trailers(); err != nil {
		return err
	}
	return io.EOF
}

// chunkSize reads the size in a chunk's line. Extensions are passed over, as a recipient must that knows none
// (RFC 9112, section 7.1.1); they are not passed on. They hold no control characters.
func chunkSize(line string) (int64, error) {
	var size int64
	digits := 0
	for ; digits < len(line); digits++ {
		c := line[digits]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		case c == ';' && digits > 0:
			return size, checkExtension(line[digits:])
		default:
			return 0, Error("the size of a chunk of the request's body is not a hexadecimal number")
		}
		if digits == 15 {
			return 0, Error("the size of a chunk of the request's body has more than 15 digits")
		}
		size = size<<4 | int64(c)
	}
	if digits == 0 {
		return 0, Error("a chunk of the request's body has no size")
	}
	return size, nil
}

func checkExtension(s string) error {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return Error(fmt.Sprintf("an extension of a chunk holds the control character 0x%02x", c))
		}
	}
	return nil
}

// trailers reads the trailer section with its empty line.
func (b *Body) trailers() ([]Field, error) {
	var fields []Field
	for room := maxTrailers; ; {
		line, err := b.line(room)
		if err != nil || line == "" {
			return fields, err
		}
		if room -= len(line) + 2; len(fields) == MaxFields || room < 2 {
			return nil, Error("the request's trailer section is too long")
		}
		f, err := parseField(line)
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
}

const errFramingLine = Error("a line in the framing of the request's body is too long")

// line reads a line of at most limit octets with its CRLF, which it takes away.
func (b *Body) line(limit int) (string, error) {
	r := b.r
	for {
		ahead := r.buf[r.begin:r.end]
		if i := bytes.IndexByte(ahead, '\n'); i >= 0 && i < limit {
			line, _, err := cutLine(string(ahead[:i+1]))
			r.begin += i + 1
			return line, err
		}
		if len(ahead) >= limit {
			return "", errFramingLine
		}
		if r.begin > 0 {
			r.end = copy(r.buf, ahead)
			r.begin = 0
		}
		if err := r.more(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}
