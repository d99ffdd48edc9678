package hop

import (
	"context"
	"net"

	"watertight/name"
)

// mux is the connections of one chain to one HTTP/2 proxy. How many tunnels each carries, the proxy says (RFC 9113,
// section 5.1.2).
type mux struct{ book[*muxConn] }

// tunnel opens a tunnel to t. reach begins a connection to the proxy.
func (m *mux) tunnel(ctx context.Context, t name.Target, reach func(context.Context) (net.Conn, error)) (net.Conn, error) {
	return m.on(ctx, m.by(reach), func(ctx context.Context, c *muxConn, done func()) (net.Conn, error) {
		return c.tunnel(ctx, t, done)
	})
}

// packets opens a flow of datagrams to t.
func (m *mux) packets(ctx context.Context, t name.Target, reach func(context.Context) (net.Conn, error)) (net.Conn, error) {
	return m.on(ctx, m.by(reach), func(ctx context.Context, c *muxConn, done func()) (net.Conn, error) {
		return c.packets(ctx, t, done)
	})
}

// by reaches the proxy and speaks with it until both know that it is HTTP/2.
func (m *mux) by(reach func(context.Context) (net.Conn, error)) func(context.Context) (*muxConn, error) {
	return func(ctx context.Context) (*muxConn, error) {
		raw, err := reach(ctx)
		if err != nil {
			return nil, err
		}
		var c *muxConn
		err = m.l.handshake(ctx, raw, func() error {
			m.l.waiting(ctx, false)
			conn, err := m.l.encrypt(raw)
			if err != nil {
				return err
			}
			c, err = newMuxConn(m.l, conn)
			return err
		})
		if err != nil && c != nil {
			_ = c.http.Close()
		}
		return c, err
	}
}
