package leaktest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"watertight/dnswire"
)

// asking is how a DNS door is asked.
type asking struct {
	over string
	ask  func(ctx context.Context, d Door, q dnswire.Question) (*dnswire.Answer, error)
}

// askings are those of a DNS door.
func (d Door) askings() (all []asking) {
	switch {
	case d.HTTPS:
		all = append(all, asking{"HTTPS", overHTTP(byHTTP1)}, asking{"HTTPS (HTTP/2)", overHTTP(askHTTP2)})
		if d.QUIC != nil {
			all = append(all, asking{"HTTPS (HTTP/3)", overHTTP(askHTTP3)})
		}
	case d.TLS && d.Dial != nil:
		all = append(all, asking{"TLS", overStream})
	case d.TLS:
		all = append(all, asking{"QUIC", overQUIC})
	default:
		if d.Datagrams != nil {
			all = append(all, asking{"UDP", overUDP})
		}
		all = append(all, asking{"TCP", overStream})
	}
	return all
}

// question asks a DNS door.
func question(ctx context.Context, d Door, a asking, q dnswire.Question) (*dnswire.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, doorLimit)
	defer cancel()
	return a.ask(ctx, d, q)
}

// questionID is that of a question on a socket of its own, which hears nobody but this program's own door.
const questionID = 0x5754

// overUDP asks in one datagram.
func overUDP(ctx context.Context, d Door, q dnswire.Question) (*dnswire.Answer, error) {
	query, err := dnswire.Query(q, questionID, 0)
	if err != nil {
		return nil, err
	}
	conn, err := d.Datagrams()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	b := make([]byte, dnswire.MaxMessage)
	n, err := conn.Read(b)
	if err != nil {
		return nil, err
	}
	return dnswire.ParseAnswer(b[:n], q, questionID)
}

// overStream asks over TCP, or over TLS, with the length before each message (RFC 1035, section 4.2.2).
func overStream(ctx context.Context, d Door, q dnswire.Question) (*dnswire.Answer, error) {
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	return framed(conn, q, questionID, func() error { return nil })
}

// overQUIC asks on a stream of its own, with the ID 0 (RFC 9250, section 4.2).
func overQUIC(ctx context.Context, d Door, q dnswire.Question) (*dnswire.Answer, error) {
	conn, err := d.QUIC(ctx, "doq")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	defer context.AfterFunc(ctx, func() { _ = conn.CloseWithError(0, "") })()
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	return framed(stream, q, 0, stream.Close)
}

// framed asks with the length before each message. said is called when the question has been.
func framed(rw io.ReadWriter, q dnswire.Question, id uint16, said func() error) (*dnswire.Answer, error) {
	query, err := dnswire.Query(q, id, 0)
	if err != nil {
		return nil, err
	}
	if _, err := rw.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil { //nolint:gosec // a query is short
		return nil, err
	}
	if err := said(); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(rw, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(rw, b); err != nil {
		return nil, err
	}
	return dnswire.ParseAnswer(b, q, id)
}

// overHTTP posts a question (RFC 8484, section 4.1) by a version of HTTP.
func overHTTP(by func(ctx context.Context, d Door) (http.RoundTripper, func(), error)) func(context.Context, Door, dnswire.Question) (*dnswire.Answer, error) {
	return func(ctx context.Context, d Door, q dnswire.Question) (*dnswire.Answer, error) {
		query, err := dnswire.Query(q, 0, 0)
		if err != nil {
			return nil, err
		}
		over, end, err := by(ctx, d)
		if err != nil {
			return nil, err
		}
		defer end()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+d.Address.String()+"/dns-query", bytes.NewReader(query))
		if err != nil {
			return nil, err
		}
		request.Header = http.Header{"Content-Type": {messageType}, "Accept": {messageType}, "User-Agent": {""}}
		response, err := over.RoundTrip(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("it answers with the status %d", response.StatusCode)
		}
		b, err := io.ReadAll(io.LimitReader(response.Body, dnswire.MaxMessage))
		if err != nil {
			return nil, err
		}
		return dnswire.ParseAnswer(b, q, 0)
	}
}

const messageType = "application/dns-message"

// byHTTP1 speaks HTTP/1.1.
func byHTTP1(_ context.Context, d Door) (http.RoundTripper, func(), error) {
	return &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("the door speaks TLS alone")
		},
		DialTLSContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx) },
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: apiHead,
	}, func() {}, nil
}

// askHTTP2 speaks HTTP/2.
func askHTTP2(_ context.Context, d Door) (http.RoundTripper, func(), error) {
	t := http2To(d)
	return t, t.close, nil
}

// askHTTP3 speaks HTTP/3.
func askHTTP3(ctx context.Context, d Door) (http.RoundTripper, func(), error) {
	c, err := dialHTTP3(ctx, d)
	if err != nil {
		return nil, nil, err
	}
	return c.http, c.close, nil
}
