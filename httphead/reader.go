package httphead

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
)

// smallHead is the size of the buffer that a reader begins with: most heads fit. A longer one gets a buffer for all.
const smallHead = 4 << 10

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallHead]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([MaxHead]byte) }}
)

// Reader reads requests, one after another, from a connection. It is used by one goroutine at a time.
type Reader struct {
	src        io.Reader
	small      *[smallHead]byte
	large      *[MaxHead]byte
	buf        []byte // small or large, nil while nothing is held
	begin, end int    // what was read ahead is buf[begin:end]
	request    Request
	later      bool // a request was read before
}

// NewReader reads from src after head, which was read from it before. The head is copied.
func NewReader(src io.Reader, head []byte) *Reader {
	r := &Reader{src: src}
	if len(head) > MaxHead {
		r.src = io.MultiReader(bytes.NewReader(bytes.Clone(head[MaxHead:])), src)
		head = head[:MaxHead]
	}
	r.ensure(len(head))
	r.end = copy(r.buf, head)
	return r
}

// ensure makes room for n octets in all, at most [MaxHead].
func (r *Reader) ensure(n int) {
	switch {
	case r.buf == nil && n <= smallHead:
		r.small = smallBuffers.Get().(*[smallHead]byte)
		r.buf = r.small[:]
	case n > len(r.buf) && r.large == nil:
		r.large = largeBuffers.Get().(*[MaxHead]byte)
		r.end = copy(r.large[:], r.buf[r.begin:r.end])
		r.begin = 0
		r.buf = r.large[:]
		r.releaseSmall()
	}
}

func (r *Reader) releaseSmall() {
	if r.small != nil {
		smallBuffers.Put(r.small)
		r.small = nil
	}
}

// Release gives the buffer back. What was read ahead is lost: take [Reader.Ahead] before. A reader may be used again
// afterwards.
func (r *Reader) Release() {
	r.releaseSmall()
	if r.large != nil {
		largeBuffers.Put(r.large)
		r.large = nil
	}
	r.buf, r.begin, r.end = nil, 0, 0
}

// Ahead gives a copy of the octets that were read beyond the last request, nil if there are none.
func (r *Reader) Ahead() []byte { return bytes.Clone(r.buf[r.begin:r.end]) }

// HasAhead says whether octets were read beyond the last request.
func (r *Reader) HasAhead() bool { return r.begin < r.end }

// Next reads the head of the next request, which stays valid until Next is called again. The error is or wraps an
// [Error] if the head is refused, [io.EOF] if the connection ended between requests, and otherwise the connection's.
func (r *Reader) Next() (*Request, error) {
	head, err := r.head()
	if err != nil {
		return nil, err
	}
	r.later = true
	if err := r.request.parse(head); err != nil {
		return nil, err
	}
	return &r.request, nil
}

// head gives the octets up to the empty line. Each line is checked as it comes: a client that ends its lines in LF
// is refused at once, and not when its time is up.
func (r *Reader) head() (string, error) {
	if r.begin > 0 {
		r.end = copy(r.buf, r.buf[r.begin:r.end])
		r.begin = 0
	}
	line := 0 // where the line begins that is looked at
	seen := 0 // up to where there is no LF in it
	for {
		i := bytes.IndexByte(r.buf[seen:r.end], '\n')
		if i < 0 {
			seen = r.end
			if line == 0 && r.end > MaxLine {
				return "", Error(fmt.Sprintf("the request line is longer than %d octets", MaxLine))
			}
			if r.end >= MaxHead {
				return "", Error(fmt.Sprintf("the request's head is longer than %d octets", MaxHead))
			}
			if err := r.more(); err != nil {
				return "", err
			}
			continue
		}
		lf := seen + i
		seen = lf + 1
		if lf == line || r.buf[lf-1] != '\r' {
			return "", errBareLF
		}
		if lf-line > 1 {
			if line == 0 && seen > MaxLine {
				return "", Error(fmt.Sprintf("the request line is longer than %d octets", MaxLine))
			}
			line = seen
			continue
		}
		if line > 0 {
			r.begin = seen
			return string(r.buf[:seen]), nil
		}
		// An empty line before the request line: some clients send one after a body (RFC 9112, section 2.2).
		if !r.later {
			return "", Error("the request begins with an empty line")
		}
		r.later = false
		r.end = copy(r.buf, r.buf[seen:r.end])
		seen = 0
	}
}

// more reads what there is behind what was read ahead.
func (r *Reader) more() error {
	r.ensure(r.end + 1)
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if err == io.EOF && r.end > r.begin {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Peek waits until octets beyond the last request are there, and keeps them. While it waits on a [*net.TCPConn] it
// holds no buffer. The error is the connection's; it is [io.EOF] where the client ended.
func (r *Reader) Peek() error {
	if r.begin < r.end {
		return nil
	}
	r.Release()
	if conn, ok := r.src.(*net.TCPConn); ok {
		return r.await(conn)
	}
	return r.more()
}

// Read gives what was read ahead, and then the connection's octets. It never mixes the two.
func (r *Reader) Read(b []byte) (int, error) {
	if r.begin < r.end {
		n := copy(b, r.buf[r.begin:r.end])
		r.begin += n
		return n, nil
	}
	return r.src.Read(b)
}
