package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"watertight/relay"
	"watertight/wire"
)

// Publish is a port of a contained program that is reachable on this host's loopback addresses.
type Publish struct {
	Here, Inside uint16
}

// maxPublished bounds the connections of one published port, at one time.
const maxPublished = 1024

// published are the listeners of published ports.
type published struct {
	dial func(network string, to netip.AddrPort) (net.Conn, error)
	open []*port
}

type port struct {
	inside    uint16
	listeners []*net.TCPListener
	slots     chan struct{}
}

// publish opens the listeners, on 127.0.0.1 and, where this host has it, on ::1. On an error none is open.
func publish(ports []Publish, dial func(string, netip.AddrPort) (net.Conn, error)) (*published, error) {
	p := &published{dial: dial}
	for _, want := range ports {
		one := &port{inside: want.Inside, slots: make(chan struct{}, maxPublished)}
		p.open = append(p.open, one)
		for _, loopback := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
			l, err := wire.ListenTCP(netip.AddrPortFrom(loopback, want.Here))
			if err != nil && loopback.Is6() && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)) {
				continue
			}
			if err != nil {
				p.close()
				return nil, fmt.Errorf("--publish %d: cannot listen on %s: %w%s", want.Here, netip.AddrPortFrom(loopback, want.Here), cause(err), remedy(err))
			}
			one.listeners = append(one.listeners, l)
		}
	}
	return p, nil
}

func (p *published) close() {
	for _, one := range p.open {
		for _, l := range one.listeners {
			_ = l.Close() // it may be closed already
		}
	}
}

// serve carries connections to the program until ctx ends.
func (p *published) serve(ctx context.Context) {
	defer context.AfterFunc(ctx, p.close)()
	var serving sync.WaitGroup
	for _, one := range p.open {
		for _, l := range one.listeners {
			serving.Go(func() { p.accept(ctx, l, one, &serving) })
		}
	}
	serving.Wait()
}

// acceptPause is how long a listener rests that fails: for want of descriptors, say.
const acceptPause = 50 * time.Millisecond

func (p *published) accept(ctx context.Context, l *net.TCPListener, to *port, serving *sync.WaitGroup) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
				return
			}
			continue
		}
		select {
		case to.slots <- struct{}{}:
			serving.Go(func() {
				defer func() { <-to.slots }()
				p.carry(ctx, conn, to.inside)
			})
		default:
			_ = conn.Close()
		}
	}
}

// carry carries one connection. A program that does not listen is one that refuses.
func (p *published) carry(ctx context.Context, conn *net.TCPConn, inside uint16) {
	defer conn.Close()
	there, err := p.dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), inside))
	if err != nil {
		there, err = p.dial("tcp", netip.AddrPortFrom(netip.IPv6Loopback(), inside))
	}
	if err != nil {
		_ = conn.SetLinger(0) // a reset
		return
	}
	defer there.Close()
	_, _, _ = relay.Pipe(ctx, conn, there) // both ends know how it ended
}
