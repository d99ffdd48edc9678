// Package proxytest is what proxies need to carry datagrams, for tests and for the lab.
//
// It promises to send nothing but what it was asked to, and it opens no socket: it serves those that it is given, and
// reaches others by a function that it is given.
package proxytest

import (
	"errors"
	"net"
	"sync"

	"watertight/name"
	"watertight/socks"
)

// Dial opens a connection, or a flow of datagrams, to what a client asked for.
type Dial func(t name.Target) (net.Conn, error)

// SOCKSRelay is the relay of SOCKS5 (RFC 1928, section 7), of any number of associations.
type SOCKSRelay struct {
	socket net.PacketConn
	dial   Dial
	wg     sync.WaitGroup

	mu     sync.Mutex
	flows  map[pair]net.Conn
	closed bool
}

// pair is who sends to whom.
type pair struct {
	client string
	to     name.Target
}

// maxDatagram is more than any datagram has, in octets.
const maxDatagram = 1 << 16

// ServeSOCKSRelay carries datagrams for whoever sends them to the socket, until it is closed.
func ServeSOCKSRelay(socket net.PacketConn, dial Dial) *SOCKSRelay {
	r := &SOCKSRelay{socket: socket, dial: dial, flows: map[pair]net.Conn{}}
	r.wg.Go(r.serve)
	return r
}

// Close ends the relay and everything that it opened.
func (r *SOCKSRelay) Close() error {
	r.mu.Lock()
	r.closed = true
	for _, flow := range r.flows {
		flow.Close()
	}
	r.mu.Unlock()
	err := r.socket.Close()
	r.wg.Wait()
	return err
}

func (r *SOCKSRelay) serve() {
	b := make([]byte, maxDatagram)
	for {
		n, client, err := r.socket.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		d, err := socks.ParseDatagram(b[:n])
		if err != nil || d.Fragment != 0 {
			continue
		}
		t, err := name.New(d.Host, d.Port)
		if err != nil {
			continue
		}
		if flow := r.flow(t, client); flow != nil {
			_, _ = flow.Write(d.Payload)
		}
	}
}

// flow gives a client's flow to a target; nil where there can be none.
func (r *SOCKSRelay) flow(t name.Target, client net.Addr) net.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := pair{client.String(), t}
	if flow, ok := r.flows[key]; ok || r.closed {
		return flow
	}
	flow, err := r.dial(t)
	if err != nil {
		return nil
	}
	r.flows[key] = flow
	r.wg.Go(func() {
		header := socks.AppendDatagramHeader(nil, t)
		b := make([]byte, len(header)+maxDatagram)
		copy(b, header)
		for {
			n, err := flow.Read(b[len(header):])
			if err != nil {
				return
			}
			_, _ = r.socket.WriteTo(b[:len(header)+n], client)
		}
	})
	return flow
}
