package http2

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Codes of a reset (RFC 9113, section 7).
const (
	NoError      = uint32(http2.ErrCodeNo)
	Internal     = uint32(http2.ErrCodeInternal)
	Cancelled    = uint32(http2.ErrCodeCancel)
	ConnectError = uint32(http2.ErrCodeConnect)
)

// Streamer is the writer of a request that can be had as the stream that it is, once the head of its response was written.
type Streamer interface {
	// HTTPStream gives the stream, which is the handler's from then on: it is reset when the handler returns, unless both
	// directions have ended.
	HTTPStream() *Stream
}

// Stream is a request and its response in octets. Reading and writing may go on at once; each has a deadline.
type Stream struct {
	c  *Conn
	id uint32

	cancel  context.CancelFunc // of the request's context
	moved   chan struct{}      // has a value when there may be room to send
	arrived chan struct{}      // has a value when there may be something to read
	reading deadline
	sending deadline
	writes  sync.Mutex // of those who write octets

	// What follows is guarded by c.mu.
	window   int64 // what may be sent
	in       bytes.Buffer
	taken    int   // octets whose room was not given back yet
	room     int   // what the client may still send
	declared int64 // octets of the body; -1: it does not say
	trailer  http.Header
	heard    bool  // the client's direction has ended
	told     bool  // ours has
	broken   error // the stream was reset, or the connection ended
}

func (s *Stream) poke() { signal(s.moved) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fail ends both directions with an error. What has arrived is read no more.
func (s *Stream) fail(why error) {
	c := s.c
	c.mu.Lock()
	if s.broken == nil {
		s.broken = why
	}
	delete(c.streams, s.id)
	more := s.discard()
	c.mu.Unlock()
	s.poke()
	signal(s.arrived)
	s.cancel()
	c.giveBack(more)
	c.calm()
}

// discard throws away what nobody reads any more, and says how much room the connection gets back. The caller holds c.mu.
func (s *Stream) discard() int {
	n := s.in.Len()
	s.in = bytes.Buffer{}
	return n
}

// ends takes a stream whose both directions have ended off the connection's list. The caller holds c.mu.
func (s *Stream) ends() {
	if s.heard && s.told {
		delete(s.c.streams, s.id)
	}
}

// Read reads what the client sends: io.EOF is the end of its direction.
func (s *Stream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, more, err := s.read(b)
		if n > 0 || err != nil {
			if more {
				s.giveBack()
			}
			s.c.giveBack(n)
			return n, err
		}
		late := s.reading.wait()
		select {
		case <-late:
			return 0, os.ErrDeadlineExceeded
		default:
		}
		select {
		case <-late:
			return 0, os.ErrDeadlineExceeded
		case <-s.arrived:
		}
	}
}

// read takes what is there. more says that the client is to be told of room.
func (s *Stream) read(b []byte) (n int, more bool, err error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	switch {
	case s.broken != nil:
		signal(s.arrived) // for whoever else waits
		return 0, false, s.broken
	case s.in.Len() > 0:
		n, _ = s.in.Read(b)
		if s.in.Len() == 0 && s.in.Cap() > frameSize {
			s.in = bytes.Buffer{}
		}
		s.taken += n
		return n, !s.heard && s.taken >= s.c.o.StreamBuffer/4, nil
	case s.heard:
		signal(s.arrived)
		return 0, false, io.EOF
	}
	return 0, false, nil
}

// giveBack tells the client of the room that there is in the stream's buffer again.
func (s *Stream) giveBack() {
	s.c.mu.Lock()
	n := s.taken
	s.taken = 0
	s.room += n
	s.c.mu.Unlock()
	if n > 0 {
		_ = s.c.write(func() error { return s.c.framer.WriteWindowUpdate(s.id, uint32(n)) })
	}
}

// giveBack tells the client of room for octets of the connection, once it is worth it.
func (c *Conn) giveBack(n int) {
	c.mu.Lock()
	c.taken += n
	more := c.taken
	if more < c.o.StreamBuffer/2 || c.ended != nil {
		more = 0
	}
	c.taken -= more
	c.mu.Unlock()
	if more > 0 {
		_ = c.write(func() error { return c.framer.WriteWindowUpdate(0, uint32(more)) })
	}
}

// takeData takes what the client sends over a stream.
func (c *Conn) takeData(f *http2.DataFrame) error {
	kept, err := c.keepData(f)
	c.giveBack(int(f.Length) - kept)
	return err
}

// keepData keeps it for who reads the stream, and says how many octets that are.
func (c *Conn) keepData(f *http2.DataFrame) (kept int, err error) {
	size, data := int(f.Length), f.Data()
	wrong := func(code http2.ErrCode) error { return http2.StreamError{StreamID: f.StreamID, Code: code} }
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[f.StreamID]
	switch {
	case s == nil && f.StreamID > c.highest:
		return 0, http2.ConnectionError(http2.ErrCodeProtocol)
	case s == nil:
		return 0, nil // it was on its way when the stream ended
	case s.heard:
		return 0, wrong(http2.ErrCodeStreamClosed)
	case size > s.room:
		return 0, wrong(http2.ErrCodeFlowControl)
	}
	if s.declared >= 0 {
		if s.declared -= int64(len(data)); s.declared < 0 || f.StreamEnded() && s.declared > 0 {
			return 0, wrong(http2.ErrCodeProtocol) // RFC 9113, section 8.1.1
		}
	}
	s.room -= size
	s.in.Write(data)
	s.taken += size - len(data) // padding
	if f.StreamEnded() {
		s.heard = true
		s.ends()
	}
	signal(s.arrived)
	return len(data), nil
}

// Write sends octets. It returns when the last of them was handed to the connection.
func (s *Stream) Write(b []byte) (int, error) { return s.send(b, false) }

func (s *Stream) send(b []byte, end bool) (sent int, err error) {
	s.writes.Lock()
	defer s.writes.Unlock()
	for len(b) > 0 || end {
		n, last, err := s.reserve(len(b), end)
		if err != nil {
			return sent, err
		}
		if n < 0 {
			late := s.sending.wait()
			select {
			case <-late:
				return sent, os.ErrDeadlineExceeded
			default:
			}
			select {
			case <-late:
				return sent, os.ErrDeadlineExceeded
			case <-s.moved:
			}
			continue
		}
		if err := s.c.write(func() error { return s.c.framer.WriteData(s.id, last, b[:n]) }); err != nil {
			return sent, err
		}
		sent, b = sent+n, b[n:]
		if last {
			break
		}
	}
	return sent, nil
}

// reserve takes room for some of n octets; -1 where there is none. last says that with them our direction ends.
func (s *Stream) reserve(n int, end bool) (granted int, last bool, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.broken != nil:
		s.poke()
		return 0, false, s.broken
	case s.told:
		return 0, false, net.ErrClosed
	case n > 0:
		granted = int(min(int64(n), int64(c.largest), s.window, c.window))
		if granted <= 0 {
			return -1, false, nil
		}
		s.window -= int64(granted)
		c.window -= int64(granted)
	}
	if last = end && granted == n; last {
		s.told = true
		s.ends()
	}
	return granted, last, nil
}

// CloseWrite ends our direction; the other goes on.
func (s *Stream) CloseWrite() error {
	s.c.mu.Lock()
	told := s.told
	s.c.mu.Unlock()
	if told {
		return nil
	}
	_, err := s.send(nil, true)
	if err == net.ErrClosed {
		return nil // another has ended it meanwhile
	}
	s.c.calm()
	return err
}

// Reset ends both directions at once, with a code, unless both have ended.
func (s *Stream) Reset(code uint32) {
	s.c.mu.Lock()
	over := s.broken != nil || s.heard && s.told
	s.c.mu.Unlock()
	if !over {
		_ = s.c.reset(s.id, http2.ErrCode(code))
	}
}

// SetDeadline bounds reading and writing.
func (s *Stream) SetDeadline(t time.Time) error {
	s.reading.set(t)
	s.sending.set(t)
	return nil
}

// SetReadDeadline bounds reading, also of a Read under way.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.reading.set(t)
	return nil
}

// SetWriteDeadline bounds waiting for room to send.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.sending.set(t)
	return nil
}

// LocalAddr is of the connection.
func (s *Stream) LocalAddr() net.Addr { return s.c.conn.LocalAddr() }

// RemoteAddr is of the connection.
func (s *Stream) RemoteAddr() net.Addr { return s.c.conn.RemoteAddr() }
