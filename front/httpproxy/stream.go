package httpproxy

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"watertight/gate"
)

// stream is a tunnel of HTTP/2 as a relay sees it. net/http ends a stream in our direction only together with the other:
// so the end of the far side ends the stream, and what the client still sends is not taken.
type stream struct {
	body  io.ReadCloser
	w     http.ResponseWriter
	rc    *http.ResponseController
	guest *gate.Guest

	mu      sync.Mutex
	over    bool // the handler has returned: nothing may be done with w any more
	aborted bool
	ended   bool // by the far side
}

func newStream(w http.ResponseWriter, r *http.Request, guest *gate.Guest) *stream {
	return &stream{body: r.Body, w: w, rc: http.NewResponseController(w), guest: guest}
}

// finish is the end of the handler. A tunnel that broke off ends with a reset, so that nobody takes it for a whole one.
func (s *stream) finish() {
	s.mu.Lock()
	s.over = true
	aborted := s.aborted
	s.mu.Unlock()
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// Read reads what the client sends.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.body.Read(b)
	if err != nil && err != io.EOF {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ended {
			err = io.EOF
		}
	}
	return n, err
}

// Write sends to the client at once.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err == nil {
		err = s.rc.Flush()
	}
	return n, err
}

// CloseWrite notes that the far side has ended, and ends the reading.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return net.ErrClosed
	}
	s.ended = true
	return s.rc.SetReadDeadline(past)
}

// Abort makes the stream end with a reset.
func (s *stream) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = !s.over && !s.ended
}

// Close ends what reads and writes. Where the far side has not ended before, the stream ends with a reset.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	_ = s.rc.SetReadDeadline(past) // they fail where the client is gone
	if !s.ended {
		s.aborted = true
		_ = s.rc.SetWriteDeadline(past)
	}
	return nil
}

func (s *stream) deadline(set ...func(time.Time) error) func(time.Time) error {
	return func(t time.Time) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.over {
			return net.ErrClosed
		}
		for _, f := range set {
			if err := f(t); err != nil {
				return err
			}
		}
		return nil
	}
}

// SetDeadline bounds reading and writing.
func (s *stream) SetDeadline(t time.Time) error {
	return s.deadline(s.rc.SetReadDeadline, s.rc.SetWriteDeadline)(t)
}

// SetReadDeadline bounds reading.
func (s *stream) SetReadDeadline(t time.Time) error { return s.deadline(s.rc.SetReadDeadline)(t) }

// SetWriteDeadline bounds writing.
func (s *stream) SetWriteDeadline(t time.Time) error { return s.deadline(s.rc.SetWriteDeadline)(t) }

// LocalAddr is of the connection.
func (s *stream) LocalAddr() net.Addr { return s.guest.Conn.LocalAddr() }

// RemoteAddr is of the connection.
func (s *stream) RemoteAddr() net.Addr { return s.guest.Conn.RemoteAddr() }
