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

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/fault"
	"watertight/masque"
)

// h3Stream is a tunnel that is one stream of an HTTP/3 connection. Its deadlines are its own, and so is its end: what happens
// to it happens to no other tunnel.
type h3Stream struct {
	c      *h3Conn
	stream *http3.RequestStream
	done   func() // gives the place back
	once   sync.Once

	writing sync.Mutex // a frame is written as one

	mu     sync.Mutex
	sent   bool // our direction was ended
	closed bool
}

// Read gives what has come. The end of the far side's direction is io.EOF, and its reset an error.
func (s *h3Stream) Read(b []byte) (int, error) {
	n, err := s.stream.Read(b)
	return n, s.told(err)
}

// Write sends. It returns once all of it is taken for sending, which the far side's window may hold back.
func (s *h3Stream) Write(b []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	n, err := s.stream.Write(b)
	return n, s.told(err)
}

func (s *h3Stream) told(err error) error {
	if err == nil || err == io.EOF || isTimeout(err) && s.c.conn.Context().Err() == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return fmt.Errorf("the tunnel through %s broke off: %w", s.c.l.label, syscall.ECONNRESET)
}

// CloseWrite ends this direction; the other goes on.
func (s *h3Stream) CloseWrite() error {
	s.mu.Lock()
	s.sent = true
	s.mu.Unlock()
	return s.stream.Close()
}

// Close ends the stream: with a reset of each direction that has not ended.
func (s *h3Stream) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		sent := s.sent
		s.mu.Unlock()
		if !sent { // else what was written last may still be on its way
			s.stream.CancelWrite(h3Cancelled)
		}
		s.stream.CancelRead(h3Cancelled)
		s.done()
	})
	return nil
}

func (s *h3Stream) LocalAddr() net.Addr                { return s.c.conn.LocalAddr() }
func (s *h3Stream) RemoteAddr() net.Addr               { return s.c.conn.RemoteAddr() }
func (s *h3Stream) SetDeadline(t time.Time) error      { return s.stream.SetDeadline(t) }
func (s *h3Stream) SetReadDeadline(t time.Time) error  { return s.stream.SetReadDeadline(t) }
func (s *h3Stream) SetWriteDeadline(t time.Time) error { return s.stream.SetWriteDeadline(t) }

// h3Flow is a flow of datagrams that is one stream of an HTTP/3 connection, with the HTTP Datagrams that belong to it. It lives
// as long as the stream (RFC 9298, section 3.1).
type h3Flow struct {
	*inbox
	c      *h3Conn
	stream *http3.RequestStream
	cancel context.CancelFunc
	done   func() // gives the place back
}

func newH3Flow(c *h3Conn, stream *http3.RequestStream, done func()) *h3Flow {
	ctx, cancel := context.WithCancel(context.Background())
	f := &h3Flow{inbox: newInbox(), c: c, stream: stream, cancel: cancel, done: done}
	go f.hear(ctx)
	go f.hearCapsules()
	return f
}

// hear takes in what comes in QUIC's datagrams.
func (f *h3Flow) hear(ctx context.Context) {
	for {
		b, err := f.stream.ReceiveDatagram(ctx)
		if err != nil {
			return // the stream ended, or the flow; whoever reads the capsules says so
		}
		if payload, ok, err := masque.ParseUDP(b); ok && err == nil {
			f.put(payload)
		}
	}
}

// hearCapsules takes in what comes in capsules (RFC 9297, section 3.5), and waits for the end of the stream.
func (f *h3Flow) hearCapsules() {
	f.stop(f.putCapsules(f.c.l, f.stream))
}

func (f *h3Flow) stop(why error) {
	if !f.end(why) {
		return
	}
	f.cancel()
	f.stream.CancelRead(h3Cancelled)
	_ = f.stream.Close()
	f.done()
}

// Write sends one datagram. One that has no room in a packet to the proxy is an error, and is not cut.
func (f *h3Flow) Write(b []byte) (int, error) {
	if why := f.failure(); why != nil {
		return 0, why
	}
	err := f.stream.SendDatagram(masque.AppendUDP(make([]byte, 0, 1+len(b)), b))
	var tooLong *quic.DatagramTooLargeError
	switch {
	case err == nil:
		return len(b), nil
	case errors.As(err, &tooLong):
		return 0, &net.OpError{Op: "write", Net: "udp", Err: syscall.EMSGSIZE}
	}
	if why := f.failure(); why != nil {
		return 0, why
	}
	return 0, fault.New(fault.HopRefused, f.c.l.label+" takes no more datagrams", err)
}

// Close ends the flow.
func (f *h3Flow) Close() error {
	f.stop(net.ErrClosed)
	return nil
}

func (f *h3Flow) LocalAddr() net.Addr  { return f.c.conn.LocalAddr() }
func (f *h3Flow) RemoteAddr() net.Addr { return f.c.conn.RemoteAddr() }

// SetDeadline is SetReadDeadline.
func (f *h3Flow) SetDeadline(t time.Time) error { return f.SetReadDeadline(t) }

// SetWriteDeadline does nothing: nothing waits to be sent.
func (f *h3Flow) SetWriteDeadline(time.Time) error { return nil }

var (
	_ net.Conn = (*h3Stream)(nil)
	_ net.Conn = (*h3Flow)(nil)
)
