package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"watertight/dnswire"
)

// ErrPlain is returned for an upstream of plain DNS where no tunnel carries it that was meant to.
var ErrPlain = errors.New("names would travel in clear text: plain DNS is asked inside a WireGuard tunnel alone, by the tunnel's own channel, and only where its `dns_over_tunnel` says so")

// maxStray is how many datagrams that are no answer are read for one question. Then somebody guesses at the answer, and
// it is asked for over TCP.
const maxStray = 16

// plainOpener asks in clear text (RFC 1035) inside a tunnel. Each question has a flow of datagrams of its own, and with
// it a random port, beside its random ID (RFC 5452, section 9).
type plainOpener struct {
	c  *Client
	to netip.AddrPort
}

func newPlain(c *Client) (opener, error) {
	if len(c.up.Addrs) != 1 {
		return nil, errors.New("plain DNS has one address, that of its URL")
	}
	return &plainOpener{c: c, to: c.up.Addrs[0]}, nil
}

// open makes nothing that would have to be opened: questions share nothing.
func (o *plainOpener) open(context.Context) (link, *Failure) {
	return &plainLink{plainOpener: o, ended: make(chan struct{})}, nil
}

// forget has nothing to drop.
func (o *plainOpener) forget() {}

// plainLink is the upstream as long as it answers.
type plainLink struct {
	*plainOpener
	ended chan struct{}
	once  sync.Once
}

func (l *plainLink) done() <-chan struct{} { return l.ended }

func (l *plainLink) room() bool { return true }

func (l *plainLink) close() { l.once.Do(func() { close(l.ended) }) }

// exchange asks in a datagram, and over TCP where the answer has no room in one.
func (l *plainLink) exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	id := uint16(rand.Uint32())
	msg, err := l.c.query(q, id, 0) // whoever reads the length reads the name
	if err != nil {
		return nil, badQuestion(q, err)
	}
	a, fail := l.inPacket(ctx, q, id, msg)
	if a != nil || fail != nil {
		return a, fail
	}
	return l.overTCP(ctx, q, id, msg)
}

// inPacket gives neither answer nor failure where the question has to go over TCP. What is no answer is passed over:
// anybody inside the tunnel can send it.
func (l *plainLink) inPacket(ctx context.Context, q dnswire.Question, id uint16, msg []byte) (*dnswire.Answer, *Failure) {
	flow, err := l.c.options.Way.PlainPacket(ctx, l.to)
	if err != nil {
		return nil, l.c.dialFailure(ctx, err)
	}
	defer flow.Close()
	defer context.AfterFunc(ctx, func() { flow.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 4096) // more than is asked for
	stray := 0
	for wait := resendAfter; ; wait *= 2 {
		if _, err := flow.Write(msg); err != nil {
			return nil, l.broken(ctx, err)
		}
		if err := flow.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return nil, l.broken(ctx, err)
		}
		for ctx.Err() == nil {
			n, err := flow.Read(buf)
			if isTimeout(err) {
				break
			}
			if err != nil {
				return nil, l.broken(ctx, err)
			}
			a, err := dnswire.ParseAnswer(buf[:n], q, id)
			switch {
			case err == nil && truncated(buf[:n]):
				return nil, nil
			case err == nil:
				return a, nil
			case n > 2 && binary.BigEndian.Uint16(buf) == id && truncated(buf[:n]):
				return nil, nil // it is cut off in the middle of a record
			}
			if stray++; stray > maxStray {
				return nil, nil
			}
		}
		if ctx.Err() != nil {
			return nil, l.c.timeout(ctx.Err())
		}
	}
}

// overTCP asks over a connection of its own.
func (l *plainLink) overTCP(ctx context.Context, q dnswire.Question, id uint16, msg []byte) (*dnswire.Answer, *Failure) {
	conn, err := l.c.options.Way.Plain(ctx, l.to)
	if err != nil {
		return nil, l.c.dialFailure(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg)))
	if _, err := conn.Write(append(framed, msg...)); err != nil {
		return nil, l.broken(ctx, err)
	}
	reply, err := readMessage(conn)
	if err != nil {
		return nil, l.broken(ctx, err)
	}
	a, err := dnswire.ParseAnswer(reply, q, id)
	if err != nil {
		return nil, l.c.malformed(err)
	}
	return a, nil
}

func (l *plainLink) broken(ctx context.Context, err error) *Failure {
	if ctx.Err() != nil || isTimeout(err) || errors.Is(err, net.ErrClosed) {
		return l.c.timeout(err)
	}
	fail := l.c.broke(err)
	fail.broken = false // another flow would meet the same
	return fail
}
