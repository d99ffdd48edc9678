package gateway

import (
	"net"
	"sync"
	"time"
)

// pipe is one end of a connection in memory, each way of which ends by itself.
type pipe struct {
	in, out       net.Conn
	local, remote net.Addr
	terms         func() Terms
}

// newPipe gives the two ends of one.
func newPipe(client, server net.Addr, terms func() Terms) (near, far *pipe) {
	upOut, upIn := net.Pipe()
	downOut, downIn := net.Pipe()
	near = &pipe{in: downIn, out: upOut, local: client, remote: server, terms: terms}
	far = &pipe{in: upIn, out: downOut, local: server, remote: client, terms: terms}
	return near, far
}

func (p *pipe) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p *pipe) CloseWrite() error           { return p.out.Close() }

func (p *pipe) Close() error {
	_ = p.out.Close() // closing one in memory never fails
	return p.in.Close()
}

func (p *pipe) LocalAddr() net.Addr  { return p.local }
func (p *pipe) RemoteAddr() net.Addr { return p.remote }

func (p *pipe) SetDeadline(t time.Time) error {
	_ = p.out.SetDeadline(t)
	return p.in.SetDeadline(t)
}
func (p *pipe) SetReadDeadline(t time.Time) error  { return p.in.SetReadDeadline(t) }
func (p *pipe) SetWriteDeadline(t time.Time) error { return p.out.SetWriteDeadline(t) }

// pipeListener accepts connections in memory.
type pipeListener struct {
	conns chan *pipe
	ended chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan *pipe), ended: make(chan struct{})}
}

func (l *pipeListener) connect(client, local net.Addr, terms func() Terms) (net.Conn, error) {
	near, far := newPipe(client, local, terms)
	select {
	case l.conns <- far:
		return near, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

// Addr is no address: nobody listens anywhere.
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
