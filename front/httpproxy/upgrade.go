package httpproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"watertight/event"
	"watertight/httphead"
	"watertight/wire"
)

// upgrade gives the protocols that the client asks to switch to (RFC 9110, section 7.8). HTTP/2 is not among them:
// it would hide further requests from the door.
func upgrade(q *httphead.Request) (protocol string, ok bool) {
	if q.Minor == 0 || q.HasBody() || !q.Has("Connection", "upgrade") {
		return "", false
	}
	var kept []string
	for _, f := range q.Fields {
		if !strings.EqualFold(f.Name, "Upgrade") {
			continue
		}
		for part := range strings.SplitSeq(f.Value, ",") {
			part = strings.Trim(part, " \t")
			if part != "" && !strings.HasPrefix(strings.ToLower(part), "h2") && !strings.HasPrefix(strings.ToLower(part), "http/") {
				kept = append(kept, part)
			}
		}
	}
	return strings.Join(kept, ", "), len(kept) > 0
}

// upgrade asks the origin over a connection of its own, which becomes a tunnel if the origin agrees.
func (x *exchange) upgrade(ctx context.Context, protocol string) (more bool) {
	asked, cancel := context.WithCancel(ctx)
	x.cancel = cancel
	defer cancel()
	_ = x.conn.SetReadDeadline(time.Time{})
	x.watch()
	server, err := x.dialPlain(asked, x.target)
	if err != nil {
		x.settle()
		return x.fail(ctx, err)
	}
	stop := context.AfterFunc(asked, func() { _ = server.Close() })
	defer stop()
	resp, ahead, err := x.ask(server, protocol)
	if err != nil {
		_ = server.Close()
		x.settle()
		return x.fail(ctx, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer server.Close()
		return x.respond(resp)
	}
	x.settle()
	switched := strings.Join(resp.Header["Upgrade"], ", ")
	stripResponse(resp.Header)
	b := appendFields([]byte("HTTP/1.1 101 Switching Protocols\r\n"), resp.Header)
	b = fmt.Appendf(b, "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n", cleanReason(switched))
	if err := x.write(b); err != nil || !stop() {
		_ = server.Close()
		return false
	}
	x.tunnel(ctx, event.DoorHTTP, wire.WithHead(server, ahead))
	return false
}

// errHeadTooLong is an origin that does not come to the end of its head.
var errHeadTooLong = errors.New("the head of the origin's response is too long")

// ask sends the request and reads the head of the response, and what came with it of the new protocol.
func (x *exchange) ask(server net.Conn, protocol string) (resp *http.Response, ahead []byte, err error) {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", x.q.Method, x.originForm, hostField(x.target))
	for _, f := range endToEnd(x.q) {
		b = fmt.Appendf(b, "%s: %s\r\n", f.Name, f.Value)
	}
	b = fmt.Appendf(b, "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	if _, err := server.Write(b); err != nil {
		return nil, nil, err
	}
	limited := &io.LimitedReader{R: server, N: maxResponseHead}
	r := bufio.NewReader(limited)
	for {
		resp, err = http.ReadResponse(r, &http.Request{Method: x.q.Method})
		switch {
		case err != nil && limited.N == 0:
			return nil, nil, errHeadTooLong
		case err != nil:
			return nil, nil, err
		case resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols:
			limited.N = 1<<63 - 1
			ahead, _ = r.Peek(r.Buffered()) // it gives what is there
			return resp, ahead, nil
		}
	}
}
