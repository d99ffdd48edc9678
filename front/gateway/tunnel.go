package gateway

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"watertight/event"
	"watertight/fault"
)

// upgrade asks the origin over a connection of HTTP/1.1 of its own, which becomes a tunnel if the origin agrees (RFC 9110,
// section 7.8): this is how WebSocket begins. release is called when the request is decided.
func (x *exchange) upgrade(ctx context.Context, t *Table, m match, release func()) {
	x.m = m
	o := t.origin(m)
	secure, err := o.connect(ctx, x.request(m), "http/1.1")
	release()
	if err != nil {
		x.fail(ctx, o, err)
		return
	}
	c, _, err := clientConn(ctx, secure)
	if err != nil {
		x.fail(ctx, o, o.failure("does not speak HTTP/1.1", err))
		return
	}
	defer c.Close()
	resp, err := c.RoundTrip(x.outgoing(ctx, m, &httptrace.ClientTrace{Got1xxResponse: x.interim}))
	if err != nil {
		x.fail(ctx, o, err)
		return
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		x.respond(ctx, m, resp)
		return
	}
	server, ok := resp.Body.(io.ReadWriteCloser)
	switched := strings.Join(resp.Header["Upgrade"], ", ")
	if why := malformed(resp.Header); !ok || switched == "" || why != "" {
		_ = resp.Body.Close()
		x.fail(ctx, o, o.failure("switched protocols in a way that is not HTTP", nil))
		return
	}
	x.begin()
	x.tunnel(m, resp, server, switched)
}

// tunnel tells the client that the origin agreed, and carries octets both ways until either side ends.
func (x *exchange) tunnel(m match, resp *http.Response, server io.ReadWriteCloser, switched string) {
	defer server.Close()
	g := x.g
	if !g.enter(&g.tunnels) {
		x.refuse(fault.New(fault.Limit, "the gateway is about to end", nil))
		return
	}
	defer g.tunnels.Done()
	conn, buffered, err := x.rc.Hijack()
	if err != nil {
		return // the client is gone
	}
	defer conn.Close()
	g.conns.Add(1)
	defer g.conns.Add(-1)
	stop := context.AfterFunc(g.live, func() { _ = conn.Close(); _ = server.Close() })
	defer stop()

	fields := http.Header{}
	x.passFields(fields, m, resp.Header)
	head := []byte("HTTP/1.1 101 Switching Protocols\r\n")
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		for _, v := range fields[k] {
			head = fmt.Appendf(head, "%s: %s\r\n", k, strings.TrimSpace(v))
		}
	}
	head = fmt.Appendf(head, "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n", switched)
	_ = conn.SetDeadline(time.Time{})
	_ = conn.SetWriteDeadline(time.Now().Add(stallTimeout))
	if _, err := conn.Write(head); err != nil {
		return
	}
	started := time.Now()
	var up, down atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyCounting(server, buffered, &up)
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		_ = server.Close() // it has no end of one way alone
	}()
	copyCounting(bounded{conn}, server, &down)
	_ = conn.Close()
	_ = server.Close()
	<-done
	g.o.Sink.Tunnel(&event.Tunnel{Door: event.DoorGateway, Up: up.Load(), Down: down.Load(), Took: time.Since(started)})
}

// bounded gives a client its time to take each part.
type bounded struct{ net.Conn }

func (b bounded) Write(p []byte) (int, error) {
	_ = b.SetWriteDeadline(time.Now().Add(stallTimeout))
	return b.Conn.Write(p)
}

// copyCounting copies until the end of either, and counts.
func copyCounting(to io.Writer, from io.Reader, n *atomic.Int64) {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		r, err := from.Read(buf[:])
		if r > 0 {
			w, err := to.Write(buf[:r])
			n.Add(int64(w))
			if err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
