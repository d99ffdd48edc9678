package hop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// stream is a tunnel that is one stream of an HTTP/2 connection. Its deadlines are its own, and so is its end: what
// happens to it happens to no other tunnel.
type stream struct {
	c      *muxConn
	up     net.Conn // what is written to it is sent
	down   net.Conn // what has come is read from it
	body   io.ReadCloser
	cancel context.CancelFunc
	done   func() // gives the place back
	once   sync.Once

	mu     sync.Mutex
	failed error // why nothing comes any more; nil: the far side ended, or has not
	ended  bool  // the far side did
	sent   bool  // our direction was ended
	closed bool
}

// streamLinger is how long what was written before both directions ended may take to be sent.
const streamLinger = 10 * time.Second

// newStream makes a tunnel of a response's body and the near end of the pipe that is the request's. cancel ends the stream.
func newStream(c *muxConn, body io.ReadCloser, up net.Conn, cancel context.CancelFunc, done func()) *stream {
	near, far := net.Pipe()
	s := &stream{c: c, up: up, down: near, body: body, cancel: cancel, done: done}
	go s.pump(far)
	return s
}

// pump passes on what comes, no faster than it is read: the window of the stream holds the rest back (RFC 9113, section
// 5.2). It ends with the stream.
func (s *stream) pump(to net.Conn) {
	_, err := io.Copy(to, s.body)
	s.mu.Lock()
	if s.ended = err == nil; !s.ended && !errors.Is(err, io.ErrClosedPipe) {
		s.failed = fmt.Errorf("the tunnel through %s broke off: %w", s.c.l.label, syscall.ECONNRESET)
	}
	s.mu.Unlock()
	to.Close()
	if err != nil { // closing a body that has ended would end the other direction too
		s.abort()
	}
}

// abort ends the stream with a reset. Closing the body of the response does that, and not the context alone: whoever sends
// the other one waits for what is written to it. With the context at its end, closing waits for nothing.
func (s *stream) abort() {
	s.cancel()
	s.body.Close()
}

// Read gives what has come. The end of the far side's direction is io.EOF, and its reset an error.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.down.Read(b)
	if err == nil || isTimeout(err) {
		return n, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		err = net.ErrClosed
	case s.failed != nil:
		err = s.failed
	}
	return n, err
}

// Write sends. It returns once all of it is taken for sending, which the far side's window may hold back.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.up.Write(b)
	if !errors.Is(err, io.ErrClosedPipe) {
		return n, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		err = net.ErrClosed
	case s.failed != nil:
		err = s.failed
	default:
		err = syscall.EPIPE
	}
	return n, err
}

// CloseWrite ends this direction (END_STREAM); the other goes on.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	s.sent = true
	s.mu.Unlock()
	return s.up.Close()
}

// Close ends the stream: with a reset (CANCEL) unless both directions have ended.
func (s *stream) Close() error {
	s.mu.Lock()
	over := s.ended && s.sent
	s.closed = true
	s.mu.Unlock()
	if over {
		time.AfterFunc(streamLinger, s.cancel) // the end of it may wait for the far side's window
	} else {
		s.abort() // before the end of the request's body, which would say that all was sent
	}
	s.up.Close()
	s.once.Do(s.done)
	return s.down.Close()
}

func (s *stream) LocalAddr() net.Addr  { return s.c.local }
func (s *stream) RemoteAddr() net.Addr { return s.c.remote }

// SetDeadline sets both deadlines.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline is for this tunnel alone.
func (s *stream) SetReadDeadline(t time.Time) error { return s.down.SetReadDeadline(t) }

// SetWriteDeadline is for this tunnel alone.
func (s *stream) SetWriteDeadline(t time.Time) error { return s.up.SetWriteDeadline(t) }

var _ net.Conn = (*stream)(nil)
