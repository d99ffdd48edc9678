package leaktest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"watertight/connect"
	"watertight/name"
	"watertight/socks"
)

// entrance is a way in by a door, as a client has it.
type entrance struct {
	name string
	// bare says that it has no room for a password.
	bare bool
	in   func(ctx context.Context, d Door, t name.Target) (net.Conn, error)
}

// connecting is the one by which a request is tried that need not be tried by all.
var connecting = entrance{name: "HTTP CONNECT", in: streamed(byCONNECT)}

// entrances are those of a mixed port.
func (d Door) entrances() []entrance {
	all := []entrance{
		connecting,
		{name: "SOCKS4a", bare: true, in: streamed(bySOCKS4)},
		{name: "SOCKS5", in: streamed(bySOCKS5)},
	}
	if d.HTTP2 {
		all = append(all, entrance{name: "CONNECT over HTTP/2", in: byHTTP2})
	}
	if d.QUIC != nil {
		all = append(all, entrance{name: "CONNECT over HTTP/3", in: byHTTP3})
	}
	return all
}

// entrancesOf gives those by which the test can come in, and says of the others why not.
func entrancesOf(d Door, f *findings) []entrance {
	return slices.DeleteFunc(d.entrances(), func(e entrance) bool {
		closed := e.bare && d.Proof != Proof{}
		if closed {
			f.skip("%s by %s: it asks for a password, for which that has no room", d.At, e.name)
		}
		return closed
	})
}

// doorLimit is how long a door may take to connect or to refuse.
const doorLimit = 35 * time.Second

// refusedError is what a door said.
type refusedError struct{ said string }

func (e *refusedError) Error() string { return e.said }

// targetOf is a name of the canary as a target: with a long zone it may be none.
func targetOf(host string, port uint16) (name.Target, error) {
	h, err := name.ParseHost(host)
	if err != nil {
		return name.Target{}, err
	}
	return name.New(h, port)
}

// enterNamed asks a door for a connection to a name of the canary.
func enterNamed(ctx context.Context, d Door, e entrance, host string, port uint16) (net.Conn, error) {
	t, err := targetOf(host, port)
	if err != nil {
		return nil, err
	}
	return enter(ctx, d, e, t)
}

// enter asks a door for a connection to t.
func enter(ctx context.Context, d Door, e entrance, t name.Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, doorLimit)
	defer cancel()
	return e.in(ctx, d, t)
}

// unreached is a door that cannot be reached.
func unreached(d Door, err error) error {
	return fmt.Errorf("the door %s cannot be reached: %w", d.At, err)
}

// streamed is a way in by what is said over a connection of its own.
func streamed(in func(conn net.Conn, d Door, t name.Target) error) func(context.Context, Door, name.Target) (net.Conn, error) {
	return func(ctx context.Context, d Door, t name.Target) (net.Conn, error) {
		conn, err := d.Dial(ctx)
		if err != nil {
			return nil, unreached(d, err)
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		err = in(conn, d, t)
		if err == nil && !stop() {
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

func byCONNECT(conn net.Conn, d Door, t name.Target) error {
	if _, err := conn.Write(connect.AppendRequest(nil, t, d.Proof.basic())); err != nil {
		return err
	}
	r, err := connect.Read(conn, make([]byte, connect.MaxHead))
	switch {
	case err != nil:
		return err
	case r.Status == http.StatusProxyAuthRequired:
		return errStranger
	case !r.OK():
		return &refusedError{fmt.Sprintf("%d %s", r.Status, r.Reason)}
	case len(r.Rest) > 0:
		return errors.New("the far side spoke first")
	}
	return nil
}

func bySOCKS4(conn net.Conn, _ Door, t name.Target) error {
	request, err := socks.AppendConnect4(nil, t, "")
	if err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	return said(socks.ReadReply4(conn, new(socks.Buffer)))
}

func bySOCKS5(conn net.Conn, d Door, t name.Target) error {
	_, err := ask5(conn, d, socks.AppendRequest(nil, socks.Connect, t))
	return err
}

// ask5 makes a request of SOCKS5 and gives where the door says that it is bound.
func ask5(conn net.Conn, d Door, request []byte) (netip.AddrPort, error) {
	var buf socks.Buffer
	if err := negotiate(conn, d.Proof, &buf); err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := conn.Write(request); err != nil {
		return netip.AddrPort{}, err
	}
	reply, bound, err := socks.ReadReply(conn, &buf)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if reply != socks.Succeeded {
		return netip.AddrPort{}, &refusedError{reply.String()}
	}
	return bound.Addr, nil
}

// negotiate agrees on a method with a server of SOCKS5, and says who comes where there is something to say.
func negotiate(conn net.Conn, p Proof, buf *socks.Buffer) error {
	offer := socks.MethodNone
	if p != (Proof{}) {
		offer = socks.MethodPassword
	}
	if _, err := conn.Write(socks.AppendGreeting(nil, offer)); err != nil {
		return err
	}
	method, err := socks.ReadMethod(conn, buf)
	switch {
	case err != nil:
		return err
	case method != offer:
		return errStranger
	case offer == socks.MethodNone:
		return nil
	}
	message, err := socks.AppendPassword(nil, p.User, p.Password)
	if err != nil {
		return err
	}
	if _, err := conn.Write(message); err != nil {
		return err
	}
	if err := socks.ReadPasswordReply(conn, buf); err != nil {
		if errors.Is(err, socks.ErrAuthFailed) {
			return errStranger
		}
		return err
	}
	return nil
}

// errStranger is a door that lets nobody in without proof, and takes the test's for none. Nothing that it refuses shows what it would
// do with a client's request.
var errStranger = errors.New("it does not let the test in: it asks for proof of who comes")

// said takes the reply of version 4 for the refusal that it is.
func said(err error) error {
	if errors.Is(err, socks.ErrRejected) || errors.Is(err, socks.ErrIdent) {
		return &refusedError{err.Error()}
	}
	return err
}

// refused says that a door said no.
func refused(err error) bool {
	_, ok := errors.AsType[*refusedError](err)
	return ok
}
