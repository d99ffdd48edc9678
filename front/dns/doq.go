package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/quic-go/quic-go"

	"watertight/dnswire"
)

// Error codes of DNS over QUIC (RFC 9250, section 8.4).
const (
	doqNoError          = 0x0
	doqInternalError    = 0x1
	doqProtocolError    = 0x2
	doqRequestCancelled = 0x3
	doqExcessiveLoad    = 0x4
	doqUnspecifiedError = 0x5
)

// maxQuery bounds a query over QUIC and HTTPS, where a client sends many at a time. A name and all that may stand beside
// it are a small part of that.
const maxQuery = 4096

// ServeQUIC answers queries over QUIC (RFC 9250) on socket until ctx ends, and closes socket. It gives nil then, or the
// error that ended the socket.
func (d *Door) ServeQUIC(ctx context.Context, socket *net.UDPConn, source Credentials) error {
	return d.serveDoQ(ctx, socket, source)
}

func (d *Door) serveDoQ(ctx context.Context, socket net.PacketConn, source Credentials) error {
	return d.serveQUIC(ctx, socket, overQUIC{
		proto: QUIC, alpn: "doq", uni: -1, noError: doqNoError,
		serve: func(c *quicConn) { c.streams(c.query) },
	}, source)
}

// What is wrong with a query on a stream.
var (
	errShortQuery = errors.New("dns: the stream ends within its query")
	errSecond     = errors.New("dns: there is more than one query on the stream")
	errLongQuery  = errors.New("dns: the query is longer than any")
)

// query answers the one query on a stream (RFC 9250, section 4.2).
func (c *quicConn) query(stream *quic.Stream) {
	_ = stream.SetReadDeadline(time.Now().Add(c.s.d.o.Stall))
	j := jobs.Get().(*job)
	defer j.free()
	var err error
	if j.in, err = readQuery(j.in[:0], stream); err != nil {
		c.misread(stream, err)
		return
	}
	who, served := c.client()
	if !served {
		_ = c.CloseWithError(doqUnspecifiedError, "")
		return
	}
	out, next := c.s.d.begin(append(j.out[:0], 0, 0), j.in, who, &j.asking)
	switch next {
	case silence: // nothing that is a query of this protocol
		c.broke()
		return
	case wait:
		out = c.s.d.finish(stream.Context(), append(j.out[:0], 0, 0), &j.asking) // ends when the client gives the query up
	}
	j.out = out
	c.reply(stream, out)
}

// readQuery appends the query of a stream to b: its length, so many octets, and the end of the stream. It takes no more
// memory than the octets that have come.
func readQuery(b []byte, r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return b, whereShort(err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > maxQuery {
		return b, errLongQuery
	}
	buf := bytes.NewBuffer(b)
	got, err := buf.ReadFrom(io.LimitReader(r, int64(n)+1))
	switch {
	case err != nil:
		return buf.Bytes(), err
	case got < int64(n):
		return buf.Bytes(), errShortQuery
	case got > int64(n):
		return buf.Bytes(), errSecond
	}
	return buf.Bytes(), nil
}

// whereShort tells the end of a stream from the failure of one.
func whereShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errShortQuery
	}
	return err
}

// misread ends what a stream was that has no query: the stream where the client gave it up or asks for too much, and
// otherwise the connection.
func (c *quicConn) misread(stream *quic.Stream, err error) {
	var reset *quic.StreamError
	switch {
	case errors.As(err, &reset): // the client gave it up (RFC 9250, section 4.3.1)
		stream.CancelWrite(doqRequestCancelled)
	case errors.Is(err, errLongQuery):
		c.s.d.stats.malformed.Add(1)
		stream.CancelRead(doqExcessiveLoad)
		stream.CancelWrite(doqExcessiveLoad)
	case errors.Is(err, errShortQuery), errors.Is(err, errSecond), errors.Is(err, os.ErrDeadlineExceeded):
		c.broke()
	}
}

// broke ends a connection whose client does not keep to the protocol (RFC 9250, section 4.3.3).
func (c *quicConn) broke() {
	c.s.d.stats.cutOff.Add(1)
	_ = c.CloseWithError(doqProtocolError, "")
}

// reply writes a reply with its length and the end of the stream. From a client that does not take it in time it is taken
// back.
func (c *quicConn) reply(stream *quic.Stream, b []byte) {
	if len(b)-2 > dnswire.MaxMessage {
		stream.CancelWrite(doqInternalError)
		return
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	_ = stream.SetWriteDeadline(time.Now().Add(c.s.d.o.Stall))
	if _, err := stream.Write(b); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.s.d.stats.cutOff.Add(1)
		}
		stream.CancelWrite(doqUnspecifiedError)
		return
	}
	_ = stream.Close()
}
