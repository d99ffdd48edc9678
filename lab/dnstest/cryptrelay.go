package dnstest

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"watertight/dnscrypt"
)

// CryptRelay is a running relay of Anonymized DNSCrypt. It sends on over datagrams, whatever it is asked over, and to
// any address: in a test there is no public one.
type CryptRelay struct {
	closer cryptListener
	dial   func(context.Context, netip.AddrPort) (net.Conn, error)
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	seen [][]byte // what was to be sent on
}

// ServeCryptRelay relays what comes to a listener and a socket until Close, over flows of datagrams that dial opens.
func ServeCryptRelay(l net.Listener, socket net.PacketConn, dial func(context.Context, netip.AddrPort) (net.Conn, error)) *CryptRelay {
	r := &CryptRelay{closer: cryptListener{l, socket}, dial: dial}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(r.ctx, func() { conn.Close() })()
				packet, err := readFrame(conn)
				if err != nil {
					return
				}
				if reply := r.relay(packet); reply != nil {
					conn.Write(frame(reply))
				}
			})
		}
	})
	r.wg.Go(func() {
		buf := make([]byte, dnscrypt.MaxTCP)
		for {
			n, from, err := socket.ReadFrom(buf)
			if err != nil {
				return
			}
			packet := append([]byte(nil), buf[:n]...)
			r.wg.Go(func() {
				if reply := r.relay(packet); reply != nil {
					socket.WriteTo(reply, from)
				}
			})
		}
	})
	return r
}

// Seen gives every packet that was sent on so far, without the header.
func (r *CryptRelay) Seen() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([][]byte(nil), r.seen...)
}

// Close stops the relay.
func (r *CryptRelay) Close() error {
	r.cancel()
	err := r.closer.Close()
	r.wg.Wait()
	return err
}

// relay gives the one response that may be sent back, or nothing.
func (r *CryptRelay) relay(packet []byte) []byte {
	to, inner, err := dnscrypt.ParseRelayed(packet)
	if err != nil {
		return nil
	}
	r.mu.Lock()
	r.seen = append(r.seen, inner)
	r.mu.Unlock()
	conn, err := r.dial(r.ctx, to)
	if err != nil {
		return nil
	}
	defer conn.Close()
	defer context.AfterFunc(r.ctx, func() { conn.Close() })()
	if _, err := conn.Write(inner); err != nil {
		return nil
	}
	buf := make([]byte, dnscrypt.MaxTCP)
	n, err := conn.Read(buf)
	if err != nil || dnscrypt.CheckRelayed(inner, buf[:n]) != nil {
		return nil
	}
	return buf[:n]
}
