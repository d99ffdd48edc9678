package httpproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
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
	server, err := x.d.dialPlain(asked, x.client, x.identity, x.target)
	if err != nil {
		x.settle()
		return x.fail(ctx, err)
	}
	stop := context.AfterFunc(asked, func() { _ = server.Close() })
	defer stop()
	resp, head, ahead, err := x.ask(server, protocol)
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
	why := malformed(resp.Header)
	if switched == "" {
		why = "switched protocols and did not say to which"
	}
	if why != "" {
		_ = server.Close()
		return x.originFailed(why, nil)
	}
	b := []byte("HTTP/1.1 101 Switching Protocols\r\n")
	for _, f := range endToEnd(fieldsOf(head)) {
		b = fmt.Appendf(b, "%s: %s\r\n", f.Name, f.Value)
	}
	b = fmt.Appendf(b, "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n", switched)
	if err := x.write(b); err != nil || !stop() {
		_ = server.Close()
		return false
	}
	x.tunnel(ctx, event.DoorHTTP, wire.WithHead(server, ahead))
	return false
}

// errHeadTooLong is an origin that does not come to the end of its head.
var errHeadTooLong = errors.New("the head of the origin's response is too long")

// ask sends the request and reads the response, of which it gives the head as it came too, and what came with it of the
// new protocol.
func (x *exchange) ask(server net.Conn, protocol string) (resp *http.Response, head string, ahead []byte, err error) {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", x.q.Method, x.originForm, hostField(x.target))
	for _, f := range endToEnd(x.q.Fields) {
		if x.forwards >= 0 && strings.EqualFold(f.Name, "Max-Forwards") {
			f.Value = strconv.Itoa(x.forwards)
		}
		b = fmt.Appendf(b, "%s: %s\r\n", f.Name, f.Value)
	}
	b = fmt.Appendf(b, "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	if _, err := server.Write(b); err != nil {
		return nil, "", nil, err
	}
	limited := &io.LimitedReader{R: server, N: maxResponseHead}
	r := bufio.NewReader(limited)
	for {
		head, err = readHead(r)
		if err == nil {
			// ReadResponse takes a head that it has whole, and nothing of what follows.
			all := bufio.NewReader(io.MultiReader(strings.NewReader(head), r))
			resp, err = http.ReadResponse(all, &http.Request{Method: x.q.Method})
		}
		switch {
		case err != nil && limited.N == 0:
			return nil, "", nil, errHeadTooLong
		case err != nil:
			return nil, "", nil, err
		case resp.StatusCode == http.StatusSwitchingProtocols || resp.StatusCode < 100 || resp.StatusCode >= 200:
			limited.N = 1<<63 - 1
			ahead, _ = r.Peek(r.Buffered()) // it gives what is there
			return resp, head, ahead, nil
		}
		if err := x.interim(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
			return nil, "", nil, err
		}
	}
}

// readHead reads the lines of a response's head up to the empty one. The reader bounds it.
func readHead(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
		head.WriteString(line)
		if line == "\r\n" || line == "\n" {
			return head.String(), nil
		}
	}
}

// fieldsOf gives the field lines of a response's head that http.ReadResponse took, their names in the letters that
// came. A folded line is unfolded (RFC 9112, section 5.2).
func fieldsOf(head string) (fields []httphead.Field) {
	_, rest, _ := strings.Cut(head, "\n") // the status line
	for line := range strings.Lines(rest) {
		n, v, named := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch {
		case line[0] != ' ' && line[0] != '\t' && named:
			fields = append(fields, httphead.Field{Name: n, Value: strings.Trim(v, " \t")})
		case len(fields) > 0 && strings.TrimSpace(line) != "":
			fields[len(fields)-1].Value += " " + strings.TrimSpace(line)
		}
	}
	return fields
}
