package dns

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// h3Uni is how many streams a client of HTTP/3 may open towards us: control, QPACK's two, and some that mean nothing
// (RFC 9114, section 6.2).
const h3Uni = 8

// h3NoError is the code that says that nothing is wrong (RFC 9114, section 8.1).
const h3NoError = quic.ApplicationErrorCode(http3.ErrCodeNoError)

// announceH3 is the header that tells clients of HTTP/3 at a port, for a day (RFC 7838; RFC 9114, section 3.1.1).
func announceH3(socket *net.UDPConn) string {
	if socket == nil {
		return ""
	}
	at := socket.LocalAddr().(*net.UDPAddr)
	return `h3=":` + strconv.Itoa(at.Port) + `"; ma=86400`
}

// serveHTTP3 answers queries over HTTP/3 (RFC 8484, RFC 9114) on socket until ctx ends, and closes socket.
func (d *Door) serveHTTP3(ctx context.Context, socket net.PacketConn, source Credentials) error {
	server := &http3.Server{
		Handler:        d.requests(""),
		MaxHeaderBytes: maxHeader,
		Logger:         slog.New(slog.NewTextHandler(io.Discard, nil)), // what clients do wrong is no news
	}
	return d.serveQUIC(ctx, socket, overQUIC{
		proto: HTTP3, alpn: http3.NextProtoH3, uni: h3Uni, noError: h3NoError,
		serve: func(c *quicConn) { c.requests(server) },
	}, source)
}

// requests answers those of one connection.
func (c *quicConn) requests(server *http3.Server) {
	h, err := server.NewRawServerConn(c.Conn)
	if err != nil { // the connection has ended
		return
	}
	go func() { // they end with the connection
		for {
			stream, err := c.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			go h.HandleUnidirectionalStream(stream)
		}
	}()
	c.streams(func(stream *quic.Stream) {
		now := time.Now()
		_ = stream.SetReadDeadline(now.Add(c.s.d.o.Stall))
		_ = stream.SetWriteDeadline(now.Add(c.s.d.o.Timeout + 2*c.s.d.o.Stall))
		if _, served := c.client(); !served {
			_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
			return
		}
		h.HandleRequestStream(stream)
	})
}
