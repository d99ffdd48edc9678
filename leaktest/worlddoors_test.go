package leaktest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
	"watertight/socks"
	"watertight/visit"
)

// dialDoor is a client at the mixed port.
func (w *world) dialDoor(ctx context.Context, _ ...string) (net.Conn, error) {
	near, far := net.Pipe()
	go w.serveDoor(ctx, far)
	return near, nil
}

func (w *world) serveDoor(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	first, err := r.Peek(1)
	if err != nil {
		return
	}
	if w.stranger && first[0] > 'A' {
		if _, err := http.ReadRequest(r); err == nil {
			fmt.Fprint(conn, "HTTP/1.1 407 it asks (AUTH_REQUIRED)\r\nContent-Length: 0\r\n\r\n")
		}
		return
	}
	if first[0] == 'G' {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		for _, from := range w.also(request.Host, visit.Plain, "GET", dnswire.A) {
			w.note(request.Host, dnswire.A, from)
		}
		if w.about.Policy.PlainHTTP == "refuse" && !w.carries("http://") {
			fmt.Fprint(conn, "HTTP/1.1 403 it is refused (POLICY_PLAIN_HTTP)\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_ = w.asked("out", request.Host, "GET", dnswire.A)
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if first[0] == 'C' {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		far, err := w.request(ctx, request.Host, "HTTP CONNECT")
		if err != nil {
			f := fault.Of(err)
			fmt.Fprintf(conn, "HTTP/1.1 %d it is refused (%s)\r\n\r\n", f.Code.HTTPStatus(), f.Code)
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
		join(conn, r, far)
		return
	}
	request, _, err := socks.ReadRequest(struct {
		io.Reader
		io.Writer
	}{r, conn}, nil, new(socks.Buffer), knows{!w.stranger})
	if err != nil {
		return
	}
	if request.Command == socks.Associate {
		if request.Port != relayedFrom { // then others could send, too
			_, _ = conn.Write(request.AppendReply(nil, socks.NotAllowed, netip.AddrPort{}))
			return
		}
		_, _ = conn.Write(request.AppendReply(nil, socks.Succeeded, netip.MustParseAddrPort("127.0.0.1:9999")))
		_, _ = r.ReadByte()
		return
	}
	far, err := w.request(ctx, net.JoinHostPort(request.Host.String(), fmt.Sprint(request.Port)), fmt.Sprintf("SOCKS%d", request.Version))
	if err != nil {
		_, _ = conn.Write(request.AppendReply(nil, socks.Reply(fault.Of(err).Code.SOCKSReply()), netip.AddrPort{}))
		return
	}
	_, _ = conn.Write(request.AppendReply(nil, socks.Succeeded, netip.AddrPort{}))
	join(conn, r, far)
}

// knows is whom a door lets in.
type knows struct{ all bool }

func (k knows) NeedsPassword() bool { return !k.all }

func (k knows) Admit(string, string) error {
	if !k.all {
		return fault.New(fault.AuthRequired, "it asks who comes", nil)
	}
	return nil
}

func join(conn net.Conn, r io.Reader, far net.Conn) {
	defer far.Close()
	go func() { _, _ = io.Copy(far, r); far.Close() }()
	_, _ = io.Copy(conn, far)
}

// request decides about a request as the program does.
func (w *world) request(ctx context.Context, target, by string) (net.Conn, error) {
	t := name.Must(target)
	host := t.Host().String()
	if strings.HasSuffix(host, zone) {
		if channel, ok := ctx.Value(asUser{}).(string); ok {
			return way{w, channel, "as " + by}.Connect(ctx, host, t.Port())
		}
		return way{w, "out", by}.Connect(ctx, host, t.Port())
	}
	switch {
	case w.carries(target):
		near, far := net.Pipe()
		far.Close()
		return near, nil
	case w.dials(target):
		return nil, fault.New(fault.ConnectRefused, "it is refused", nil)
	}
	if w.shut {
		return nil, fault.New(fault.NotReady, "a leak has closed everything", nil)
	}
	if slices.Contains(literals, target) {
		return nil, fault.New(fault.PolicyClientResolved, "it is refused", nil)
	}
	return nil, fault.New(fault.PolicyForeignResolver, "it is refused", nil)
}

// relaySocket is a client's socket for datagrams.
type relaySocket struct{ net.Conn }

const relayedFrom = 40_000

func (relaySocket) From() uint16              { return relayedFrom }
func (relaySocket) Lead(netip.AddrPort) error { return nil }

// relay takes datagrams.
func (w *world) relay(net.Conn) (Relayed, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		b := make([]byte, 2048)
		n, err := far.Read(b)
		if err != nil {
			return
		}
		if d, err := socks.ParseDatagram(b[:n]); err == nil {
			_ = w.asked("out", d.Host.String(), "datagram", dnswire.A)
		}
		_, _ = far.Read(b)
	}()
	return relaySocket{near}, nil
}

// dialDNS is a client at the DNS door.
func (w *world) dialDNS(overTCP bool) func(context.Context, ...string) (net.Conn, error) {
	return func(context.Context, ...string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if reply, ok := w.answerDNS(far, overTCP); ok {
				_, _ = far.Write(reply)
			}
		}()
		return near, nil
	}
}

// answerDNS reads a question, and gives the answer.
func (w *world) answerDNS(far net.Conn, overTCP bool) (reply []byte, ok bool) {
	b := make([]byte, 2048)
	n, err := far.Read(b)
	if err != nil {
		return nil, false
	}
	b = b[:n]
	if overTCP {
		b = b[2:]
	}
	var q dnswire.Asked
	if _, err := q.Read(b); err != nil {
		return nil, false
	}
	_ = w.asked("out", q.Name, "dns", q.Type)
	a, err := dnswire.Local(q.Question, w.gives(q.Question))
	if err != nil {
		return nil, false
	}
	if reply, err = q.AppendReply(nil, a, dnswire.Said{Limit: 2048}); err != nil {
		return nil, false
	}
	if overTCP {
		reply = append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)
	}
	return reply, true
}

// dialGateway is a client at the gateway.
func (w *world) dialGateway(context.Context, ...string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		request, err := http.ReadRequest(bufio.NewReader(far))
		if err != nil {
			return
		}
		if to, ok := strings.CutPrefix(request.URL.Path, "/https/"); ok {
			to, _, _ = strings.Cut(to, "/")
			host, _, _ := net.SplitHostPort(to)
			_ = w.asked("out", host, "gateway", dnswire.A)
			fmt.Fprint(far, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			return
		}
		if w.carries(request.Host) || w.carries("gateway") {
			w.note(request.Host, dnswire.A, nearby)
			fmt.Fprint(far, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			return
		}
		fmt.Fprint(far, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	}()
	return near, nil
}
