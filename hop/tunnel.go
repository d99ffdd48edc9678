package hop

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"watertight/connect"
	"watertight/fault"
	"watertight/name"
	"watertight/socks"
	"watertight/trust"
	"watertight/wire"
)

// HandshakeLimit is the most time that one proxy gets to open a tunnel, its own dialling included. A nearer deadline
// of the context counts.
const HandshakeLimit = 10 * time.Second

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// tunnel asks the proxy at the other end of raw for a tunnel to t. What it gives has no deadline, and is raw itself, or TLS
// over it, unless the far side's first octets came with the proxy's answer. It closes raw if it fails.
func (l *link) tunnel(ctx context.Context, raw net.Conn, t name.Target) (net.Conn, error) {
	var conn net.Conn
	var head []byte
	err := l.handshake(ctx, raw, func() (err error) {
		if conn, err = l.own(ctx, raw); err != nil {
			return err
		}
		if head, err = l.ask(ctx, conn, t); err != nil {
			if said := refusal(conn, err); trust.Refused(said) {
				err = l.unwelcome(said)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return wire.WithHead(conn, head), nil
}

// handshake does what a proxy and we have to say to each other over raw, within HandshakeLimit and until ctx ends. Then
// raw has no deadline. It closes raw if that fails.
func (l *link) handshake(ctx context.Context, raw net.Conn, talk func() error) error {
	if err := raw.SetDeadline(time.Now().Add(HandshakeLimit)); err != nil {
		raw.Close()
		return l.lost(err, false)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(longAgo) })
	err := talk()
	stopped := stop()
	if err == nil && stopped {
		if err = raw.SetDeadline(time.Time{}); err != nil {
			err = l.lost(err, true) // it closed the connection with its last word
		}
	}
	if !stopped && errors.Is(ctx.Err(), context.Canceled) {
		err = fault.New(fault.ConnectTimeout, "the request was given up while "+l.label+" was asked", ctx.Err())
	} else if !stopped && err == nil {
		err = l.lost(ctx.Err(), true)
	}
	if err != nil {
		raw.Close() // and no farewell of TLS, for which nobody may be there to take it
		return fault.Of(err)
	}
	return nil
}

// own gives what the proxy is spoken with over: raw, or TLS over it.
func (l *link) own(ctx context.Context, raw net.Conn) (net.Conn, error) {
	if l.trusted == nil {
		return raw, nil
	}
	l.waiting(ctx, false)
	conn, err := l.encrypt(raw)
	if err != nil { // a nil *tls.Conn would be a net.Conn
		return nil, err
	}
	return conn, nil
}

// ask speaks the proxy's protocol. It gives what was read beyond the proxy's answer.
func (l *link) ask(ctx context.Context, conn net.Conn, t name.Target) (head []byte, err error) {
	switch l.Scheme {
	case SchemeSOCKS5, SchemeSOCKS5TLS:
		l.waiting(ctx, false)
		return nil, l.askSOCKS5(ctx, conn, t)
	case SchemeSOCKS4a:
		l.waiting(ctx, true)
		return nil, l.askSOCKS4a(conn, t)
	case SchemeHTTP, SchemeHTTPS:
		l.waiting(ctx, true)
		return l.askHTTP(conn, t)
	}
	return nil, fault.New(fault.Internal, "nobody speaks "+l.Scheme, nil)
}

// waiting notes whose silence it is, for a resolver that gives up before this proxy's time is over.
func (l *link) waiting(ctx context.Context, asked bool) {
	if fault.Watched(ctx) {
		fault.Waiting(ctx, func() error { return l.lost(context.DeadlineExceeded, asked) })
	}
}

// say sends a message. Where a proxy over TLS has hung up before, the error is what it said: with TLS 1.3 it says only then what
// it thinks of our certificate (RFC 8446, section 4.4.2.4).
func say(conn net.Conn, message []byte) error {
	_, err := conn.Write(message)
	if secure, ok := conn.(*tls.Conn); ok && err != nil {
		if _, why := secure.Read(make([]byte, 1)); trust.Refused(why) {
			return why
		}
	}
	return err
}

var socksBuffers = sync.Pool{New: func() any { return new(socks.Buffer) }}

// askSOCKS5 is the client's side of RFC 1928, one message at a time: there are servers that drop what comes early.
func (l *link) askSOCKS5(ctx context.Context, conn net.Conn, t name.Target) error {
	buf := socksBuffers.Get().(*socks.Buffer)
	defer socksBuffers.Put(buf)
	if err := l.negotiate(conn, buf); err != nil {
		return err
	}
	l.waiting(ctx, true)
	if err := say(conn, socks.AppendRequest(buf[:0], socks.Connect, t)); err != nil {
		return l.lost(err, false)
	}
	code, _, err := socks.ReadReply(conn, buf) // where the proxy dials from is text that nobody needs
	switch {
	case errors.Is(err, socks.ErrBadReply):
		return l.nonsense(err)
	case err != nil:
		return l.lost(err, true)
	case code != socks.Succeeded:
		return l.refusedSOCKS(code)
	}
	return nil
}

// askSOCKS4a is the client's side of SOCKS 4a: one message each way.
func (l *link) askSOCKS4a(conn net.Conn, t name.Target) error {
	buf := socksBuffers.Get().(*socks.Buffer)
	defer socksBuffers.Put(buf)
	message, err := socks.AppendConnect4(buf[:0], t, l.User)
	if err != nil {
		return fault.New(fault.Internal, l.label+" cannot be asked for the destination", err)
	}
	err = say(conn, message)
	clear(message)
	if err != nil {
		return l.lost(err, false)
	}
	err = socks.ReadReply4(conn, buf)
	switch {
	case errors.Is(err, socks.ErrRejected):
		return fault.New(fault.ConnectUnreachable, l.label+" refused the request or cannot reach or resolve the destination: SOCKS4 does not say which", err)
	case errors.Is(err, socks.ErrIdent):
		f := fault.New(fault.HopAuth, l.label+" wants the user confirmed by ident on this host, which is not served", err)
		f.Hint = "choose a proxy that asks for a user and a password over SOCKS5, or for none"
		return f
	case errors.Is(err, socks.ErrBadReply):
		return l.nonsense(err)
	case err != nil:
		return l.lost(err, true)
	}
	return nil
}

// negotiate agrees on a method and proves who we are, if that was configured.
func (l *link) negotiate(conn net.Conn, buf *socks.Buffer) error {
	method := socks.MethodNone
	if l.User != "" {
		method = socks.MethodPassword
	}
	if err := say(conn, socks.AppendGreeting(buf[:0], method)); err != nil {
		return l.lost(err, false)
	}
	chosen, err := socks.ReadMethod(conn, buf)
	switch {
	case errors.Is(err, socks.ErrNotSOCKS):
		return l.nonsense(err)
	case err != nil:
		return l.lost(err, false)
	case chosen == socks.MethodRefused:
		return l.noMethod()
	case chosen != method:
		return l.nonsense(errMethod)
	case method == socks.MethodNone:
		return nil
	}
	message, err := socks.AppendPassword(buf[:0], l.User, l.Password)
	if err == nil {
		err = say(conn, message)
		clear(message)
	}
	if err != nil {
		return l.lost(err, false)
	}
	err = socks.ReadPasswordReply(conn, buf)
	switch {
	case errors.Is(err, socks.ErrAuthFailed):
		return l.wrongPassword(err)
	case errors.Is(err, socks.ErrBadReply):
		return l.nonsense(err)
	case err != nil:
		return l.lost(err, false)
	}
	return nil
}

// heads are buffers for what an HTTP proxy answers.
var heads = sync.Pool{New: func() any { return new([connect.MaxHead]byte) }}

// askHTTP is the client's side of CONNECT.
func (l *link) askHTTP(conn net.Conn, t name.Target) (head []byte, err error) {
	buf := heads.Get().(*[connect.MaxHead]byte)
	defer heads.Put(buf)
	message := connect.AppendRequest(buf[:0], t, l.credentials)
	err = say(conn, message)
	clear(message)
	if err != nil {
		return nil, l.lost(err, false)
	}
	resp, err := connect.Read(conn, buf[:])
	switch {
	case errors.Is(err, connect.ErrNotHTTP), errors.Is(err, connect.ErrMalformed),
		errors.Is(err, connect.ErrTooLong), errors.Is(err, connect.ErrInterim):
		return nil, l.nonsense(err)
	case err != nil:
		return nil, l.lost(err, true)
	case !resp.OK():
		return nil, l.refusedHTTP(resp, t)
	}
	return append([]byte(nil), resp.Rest...), nil
}
