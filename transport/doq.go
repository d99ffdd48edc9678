package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/quic-go"

	"watertight/dnswire"
)

// Codes of DNS over QUIC (RFC 9250, section 4.3).
const (
	doqNoError          = 0x0
	doqRequestCancelled = 0x3
)

type doqOpener struct{ *secure }

func newDoQ(c *Client) (opener, error) {
	s, err := newSecure(c, protocol{alpn: []string{"doq"}, name: "DNS over QUIC", uniStreams: -1})
	return doqOpener{s}, err
}

func (o doqOpener) open(ctx context.Context) (link, *Failure) {
	conn, fail := o.connectQUIC(ctx, o.tryQUIC)
	if fail != nil {
		return nil, fail
	}
	return &doqLink{c: o.c, conn: conn}, nil
}

// doqLink is one connection of DNS over QUIC (RFC 9250): a stream for each question.
type doqLink struct {
	c    *Client
	conn *quicConn
}

func (l *doqLink) done() <-chan struct{} { return l.conn.Context().Done() }

// room is true: a question over the far side's limit of streams waits for one that ends.
func (l *doqLink) room() bool { return true }

func (l *doqLink) close() { _ = l.conn.Close() }

// exchange sends a question with ID 0 on a stream of its own, and reads the one reply.
func (l *doqLink) exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	msg, err := l.c.query(q, 0, dnswire.PadQuery)
	if err != nil {
		return nil, badQuestion(q, err)
	}
	stream, err := l.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, l.lost(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() {
		stream.CancelRead(doqRequestCancelled)
		stream.CancelWrite(doqRequestCancelled)
	})
	defer stop()
	framed := make([]byte, 2, 2+len(msg))
	binary.BigEndian.PutUint16(framed, uint16(len(msg)))
	if _, err := stream.Write(append(framed, msg...)); err != nil {
		return nil, l.lost(ctx, err)
	}
	if err := stream.Close(); err != nil { // the end of the one question
		return nil, l.lost(ctx, err)
	}
	reply, err := readMessage(stream)
	stream.CancelRead(doqNoError) // there is one reply, and nothing to read behind it
	if err != nil {
		return nil, l.lost(ctx, err)
	}
	a, err := dnswire.ParseAnswer(reply, q, 0)
	if err != nil {
		return nil, l.c.malformed(err)
	}
	return a, nil
}

// lost tells a question whose time is over, one that the server gave up, and one under which the connection ended.
func (l *doqLink) lost(ctx context.Context, err error) *Failure {
	var stream *quic.StreamError
	switch {
	case ctx.Err() != nil:
		return l.c.timeout(err)
	case errors.As(err, &stream) && stream.Remote:
		return l.c.unreachable(fmt.Sprintf("gave the question up (DNS over QUIC, code %#x)", uint64(stream.ErrorCode)), err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return l.c.unreachable("ended the question without a reply", err)
	}
	return l.c.broke(err)
}
