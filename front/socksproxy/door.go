// Package socksproxy is the door for SOCKS clients: versions 4, 4a and 5 with its datagrams, and Tor's RESOLVE and
// RESOLVE_PTR.
//
// It promises that success is said only once the far side is connected, that a failure is said before the
// connection ends, and that what a client sends early is passed on. It never resolves or dials by itself: a name
// goes to the [Dialer] as a name. It discloses neither its own address nor the one it dialled.
package socksproxy

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"watertight/client"
	"watertight/event"
	"watertight/fault"
	"watertight/flow"
	"watertight/gate"
	"watertight/name"
	"watertight/route"
	"watertight/socks"
	"watertight/wire"
)

// Dialer connects to a request's target and reports the request. The error is a [*fault.Error].
type Dialer interface {
	Dial(ctx context.Context, r route.Request) (net.Conn, error)
}

// Resolver answers clients that ask for no connection, and reports the request. The errors are [*fault.Error].
type Resolver interface {
	// Resolve gives at least one address of the request's target. The target's port means nothing.
	Resolve(ctx context.Context, r route.Request) ([]netip.Addr, error)
	// ResolvePTR gives the name of the request's target, which is an address.
	ResolvePTR(ctx context.Context, r route.Request) (string, error)
}

// Relay carries octets between client and server until both directions have ended, and gives how many went up and
// down. Either may be a [*wire.Headed].
type Relay func(ctx context.Context, client, server net.Conn) (up, down int64, err error)

// DefaultHandshake is how long a client may take from the connection to the end of its request.
const DefaultHandshake = 10 * time.Second

// Limits of the farewell to a client that was refused. RFC 1928, section 6, wants it gone within 10 seconds.
const (
	lingerTime   = 5 * time.Second
	lingerOctets = 64 << 10
)

// Options is what a door is made of.
type Options struct {
	Dialer   Dialer
	Packets  PacketDialer
	Resolver Resolver
	Relay    Relay
	// Sink hears of requests that never came as far as Dialer or Resolver, and of the ends of tunnels.
	Sink      event.Sink
	Handshake time.Duration // zero means DefaultHandshake
	// Mark is put on datagrams to clients, for rules of the firewall, if it is not 0.
	Mark uint32
}

func (o Options) validate() error {
	switch {
	case o.Dialer == nil:
		return errors.New("socksproxy: a door needs a dialer")
	case o.Packets == nil:
		return errors.New("socksproxy: a door needs a dialer for datagrams")
	case o.Resolver == nil:
		return errors.New("socksproxy: a door needs a resolver")
	case o.Relay == nil:
		return errors.New("socksproxy: a door needs a relay")
	case o.Sink == nil:
		return errors.New("socksproxy: a door needs an event sink")
	case o.Handshake < 0:
		return errors.New("socksproxy: the time for the handshake is negative")
	}
	return nil
}

// Door serves SOCKS clients. Its methods may be called from many goroutines.
type Door struct {
	o       Options
	linger  time.Duration // how long a farewell may take
	flows   *flow.Budget
	dropped dropped
}

// New checks the options.
func New(o Options) (*Door, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Handshake == 0 {
		o.Handshake = DefaultHandshake
	}
	return &Door{o: o, linger: lingerTime, flows: flow.NewBudget(maxFlows)}, nil
}

var buffers = sync.Pool{New: func() any { return new(socks.Buffer) }}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// What is said when a tunnel stands. The octets are shared, so that saying them allocates nothing.
var (
	success4 = socks.Request{Version: socks.Version4}.AppendReply(nil, socks.Succeeded, netip.AddrPort{})
	success5 = socks.Request{Version: socks.Version5}.AppendReply(nil, socks.Succeeded, netip.AddrPort{})
)

// ServeConn serves one client and closes its connection. head holds octets that were read from it already; it is
// not kept. Cancelling ctx ends the handshake, the dialling and the farewell; the relay has it too.
func (d *Door) ServeConn(ctx context.Context, guest *gate.Guest, head []byte) {
	conn := guest.Conn
	defer conn.Close()
	began := time.Now()
	v := &visitor{Guest: guest, ctx: ctx}
	req, early, err := d.handshake(ctx, v, head, began)
	if err != nil {
		d.refuse(ctx, v, req, err, began)
		return
	}
	leave, err := guest.Enter(v.identity)
	if err != nil {
		d.report(v, doorOf(req), fault.Of(err).Code, time.Since(began))
		d.fail(ctx, conn, req, err)
		return
	}
	defer leave()
	switch req.Command {
	case socks.Resolve:
		d.resolve(ctx, v, req)
	case socks.ResolvePTR:
		d.resolvePTR(ctx, v, req)
	case socks.Associate:
		d.associate(ctx, v, req)
	default:
		d.connect(ctx, v, req, early)
	}
}

// visitor is a client with what it says of itself.
type visitor struct {
	*gate.Guest
	ctx      context.Context // of its connection, for what is called back in the handshake
	identity client.Identity
}

// Admit is of [socks.Admission].
func (v *visitor) Admit(user, password string) (err error) {
	v.identity, err = v.Guest.Admit(v.ctx, gate.Credentials{Username: user, Password: password})
	return err
}

// asks gives the request for a target.
func (v *visitor) asks(door event.Door, t name.Target) route.Request {
	return route.Request{Door: door, Client: v.Client, Identity: v.identity, Target: t}
}

// handshake reads the request. The connection has no deadline when it succeeds.
func (d *Door) handshake(ctx context.Context, v *visitor, head []byte, began time.Time) (socks.Request, []byte, error) {
	conn := v.Conn
	buf := buffers.Get().(*socks.Buffer)
	defer buffers.Put(buf)
	if err := conn.SetDeadline(began.Add(d.o.Handshake)); err != nil {
		return socks.Request{}, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	req, early, err := socks.ReadRequest(conn, head, buf, v)
	if !stop() {
		return req, nil, ctx.Err()
	}
	if err != nil {
		return req, nil, err
	}
	if len(early) > 0 {
		early = bytes.Clone(early)
	}
	return req, early, conn.SetDeadline(time.Time{})
}

// refuse says no to a request that was not understood, or to a client that is not let in, and reports it. A client that
// merely went away is not reported.
func (d *Door) refuse(ctx context.Context, v *visitor, req socks.Request, err error, began time.Time) {
	code, toldHere := socks.ReplyTo(err)
	toldBefore := errors.Is(err, socks.ErrNoMethod) || errors.Is(err, socks.ErrAuthMessage) || errors.Is(err, socks.ErrPassword)
	late := errors.Is(err, os.ErrDeadlineExceeded) && req.Version != 0
	if !toldHere && !toldBefore && !late && !errors.Is(err, socks.ErrVersion) {
		return
	}
	d.report(v, doorOf(req), codeOf(v, err), time.Since(began))
	if late {
		return // whoever took so long gets no more time
	}
	var reply []byte
	if toldHere {
		reply = req.AppendReply(nil, code, netip.AddrPort{})
	}
	d.farewell(ctx, v.Conn, reply)
}

// codeOf says what kind of refusal an error of the handshake is.
func codeOf(v *visitor, err error) fault.Code {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f.Code
	case errors.Is(err, socks.ErrNoMethod) && v.NeedsPassword():
		return fault.AuthRequired
	}
	return fault.BadRequest
}

// report tells the sink of a request that nobody else will tell it of.
func (d *Door) report(v *visitor, door event.Door, code fault.Code, took time.Duration) {
	d.o.Sink.Request(&event.Request{Door: door, Client: v.Client, Identity: v.identity, Code: code, Took: took})
}

// connect serves the command CONNECT.
func (d *Door) connect(ctx context.Context, v *visitor, req socks.Request, early []byte) {
	conn := v.Conn
	target, err := name.New(req.Host, req.Port)
	if err != nil {
		d.report(v, doorOf(req), fault.BadRequest, 0)
		d.farewell(ctx, conn, req.AppendReply(nil, socks.Reply(fault.BadRequest.SOCKSReply()), netip.AddrPort{}))
		return
	}
	server, gone, err := d.dial(ctx, v, v.asks(doorOf(req), target), early)
	if gone {
		return
	}
	if err != nil {
		d.fail(ctx, conn, req, err)
		return
	}
	defer server.Close()
	success := success5
	if req.Version == socks.Version4 {
		success = success4
	}
	if _, err := conn.Write(success); err != nil {
		return
	}
	began := time.Now()
	up, down, _ := d.o.Relay(ctx, wire.WithHead(conn, early), server) // how it ended is between the two ends
	d.o.Sink.Tunnel(&event.Tunnel{Door: doorOf(req), Up: up, Down: down, Took: time.Since(began)})
}

// dial connects to the far side, unless the client hangs up before. gone says that it did, and that there is nobody
// to answer.
func (d *Door) dial(ctx context.Context, v *visitor, r route.Request, early []byte) (server net.Conn, gone bool, err error) {
	if len(early) > 0 {
		server, err = d.o.Dialer.Dial(ctx, r)
		return server, false, err
	}
	watched, stop := v.WatchHangUp(ctx)
	server, err = d.o.Dialer.Dial(watched, r)
	stop()
	return server, err != nil && errors.Is(context.Cause(watched), wire.ErrHungUp), err
}

// fail says why the far side was not reached, as well as SOCKS can.
func (d *Door) fail(ctx context.Context, conn gate.Conn, req socks.Request, err error) {
	code := socks.Reply(fault.Of(err).Code.SOCKSReply())
	d.farewell(ctx, conn, req.AppendReply(nil, code, netip.AddrPort{}))
}

// farewell says reply, ends the connection in our direction, and reads for a while what the client still has to
// say: to close a socket with octets unread resets it, and the client may lose the reply.
func (d *Door) farewell(ctx context.Context, conn gate.Conn, reply []byte) {
	if conn.SetDeadline(time.Now().Add(d.linger)) != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	defer stop()
	if len(reply) > 0 {
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
	if conn.CloseWrite() != nil {
		return
	}
	buf := buffers.Get().(*socks.Buffer)
	defer buffers.Put(buf)
	for read := 0; read < lingerOctets; {
		n, err := conn.Read(buf[:])
		if err != nil {
			return
		}
		read += n
	}
}

// doorOf gives the door by which a request came in, as far as it is known.
func doorOf(req socks.Request) event.Door {
	switch {
	case req.Command == socks.Resolve, req.Command == socks.ResolvePTR:
		return event.DoorResolve
	case req.Version == socks.Version4:
		return event.DoorSOCKS4
	case req.Command == socks.Associate:
		return event.DoorSOCKS5UDP
	}
	return event.DoorSOCKS5
}
