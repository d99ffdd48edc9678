package control

import (
	"net"
	"sync"
)

// slots is a listener of so many connections at a time; more of them wait. What it gives shows the connection below.
type slots struct {
	net.Listener
	taken   chan struct{}
	closing sync.Once
	closed  chan struct{}
}

func newSlots(l net.Listener, n int) *slots {
	return &slots{Listener: l, taken: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept gives the next connection, a *slotted.
func (s *slots) Accept() (net.Conn, error) {
	select {
	case s.taken <- struct{}{}:
	case <-s.closed:
		return nil, net.ErrClosed
	}
	conn, err := s.Listener.Accept()
	if err != nil {
		<-s.taken
		return nil, err
	}
	return &slotted{Conn: conn, release: sync.OnceFunc(func() { <-s.taken })}, nil
}

// Close closes the listener.
func (s *slots) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return s.Listener.Close()
}

// slotted is a connection that has a slot until it is closed.
type slotted struct {
	net.Conn
	release func()
}

// Close closes the connection.
func (s *slotted) Close() error {
	defer s.release()
	return s.Conn.Close()
}
