package httpproxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/event"
	"watertight/fault"
	"watertight/flow"
	"watertight/httphead"
	"watertight/masque"
	"watertight/route"
)

// PacketDialer opens a flow of datagrams to a request's target and reports the request. The error is a [*fault.Error].
type PacketDialer interface {
	DialPacket(ctx context.Context, r route.Request) (net.Conn, error)
}

// maxFlows bounds the flows of all clients together: each is a socket of the host's, or of a proxy's.
const maxFlows = 4096

// packetStream is the client's end of a flow of datagrams.
type packetStream interface {
	// hear hands over each payload that the client sends, which is not kept, until the client ends the flow (nil) or breaks
	// it off.
	hear(take func(payload []byte)) error
	// send sends one payload. Where there is no room for it, it is lost.
	send(payload []byte) error
	// end ends the flow. One that is whole has ended because nobody used it, or because the client did.
	end(whole bool)
}

// connectUDP serves connect-udp (RFC 9298, section 3.4): the path is the target.
func (v *visit) connectUDP(w http.ResponseWriter, r *http.Request) {
	target, err := masque.ParsePath(r.RequestURI)
	switch {
	case err != nil:
		v.reject(w, r, event.DoorConnectUDP, target, badFlow())
		return
	case v.isSelf(target):
		v.reject(w, r, event.DoorConnectUDP, target, loop())
		return
	}
	f, err := v.d.dialFlow(r.Context(), r.Context(), route.Request{Door: event.DoorConnectUDP, Client: v.guest.Client, Identity: v.identity, Target: target})
	if err != nil {
		httphead.Refusal{Fault: fault.Of(err)}.Serve(w)
		return
	}
	defer f.giveBack()
	w.Header().Set(masque.CapsuleProtocol, masque.CapsuleProtocolTrue)
	w.WriteHeader(http.StatusOK)
	client, ctx, err := v.packets(w, r)
	if err != nil {
		_ = f.far.Close() // the client is gone
		return
	}
	v.d.carry(ctx, client, f)
}

// badFlow is the refusal of a path that asks for no flow.
func badFlow() *fault.Error {
	return badRequest("connect-udp asks for a host and a port by its path", "take the template https://PROXY/.well-known/masque/udp/{target_host}/{target_port}/")
}

// outing is a flow that was opened, with a place of its own among those of the door.
type outing struct {
	far  net.Conn
	ctx  context.Context // it ends where another client is given the place
	used atomic.Int64    // when, in nanoseconds of Unix's time
	// giveBack gives the place back.
	giveBack func()
}

// touch notes that the flow is used.
func (f *outing) touch() { f.used.Store(time.Now().UnixNano()) }

// dialFlow opens a flow that lives as long as ctx; watched bounds its opening alone.
func (d *Door) dialFlow(ctx, watched context.Context, r route.Request) (*outing, error) {
	f := &outing{}
	var end context.CancelFunc
	f.ctx, end = context.WithCancel(ctx)
	f.touch()
	place := d.flows.Take(flow.Whose(r.Identity.Counted(), r.Client.Addr()), end, func() time.Time { return time.Unix(0, f.used.Load()) })
	if place == nil {
		end()
		d.o.Sink.Request(&event.Request{Door: r.Door, Client: r.Client, Identity: r.Identity, Target: r.Target, Code: fault.Limit})
		return nil, fault.New(fault.Limit, "there are as many flows of datagrams as may be", nil)
	}
	f.giveBack = func() {
		d.flows.GiveBack(place)
		end()
	}
	watched, cancel := context.WithCancel(watched)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	var err error
	if f.far, err = d.o.Packets.DialPacket(watched, r); err != nil {
		f.giveBack()
		return nil, err
	}
	return f, nil
}

// carry brings datagrams to and fro, until either end ends the flow, nobody has used it for a while, its place is given to
// another, or ctx ends.
func (d *Door) carry(ctx context.Context, client packetStream, f *outing) {
	far := f.far
	var (
		up, down atomic.Int64
		once     sync.Once
	)
	over := func(whole bool) {
		once.Do(func() {
			_ = far.Close()
			client.end(whole)
		})
	}
	defer context.AfterFunc(ctx, func() { over(false) })()
	defer context.AfterFunc(f.ctx, func() { over(false) })()
	idle := time.AfterFunc(flow.DefaultIdle, func() { over(true) })
	defer idle.Stop()
	began := time.Now()
	var hearing sync.WaitGroup
	hearing.Go(func() {
		err := client.hear(func(payload []byte) {
			idle.Reset(flow.DefaultIdle)
			f.touch()
			switch _, err := far.Write(payload); {
			case err == nil:
				up.Add(int64(len(payload)))
			case !flow.IsLoss(err):
				over(false)
			}
		})
		over(err == nil)
	})
	buf := make([]byte, flow.MaxDatagram)
	for {
		n, err := far.Read(buf)
		if flow.IsLoss(err) {
			continue
		}
		if err == nil {
			idle.Reset(flow.DefaultIdle)
			f.touch()
			down.Add(int64(n))
			err = client.send(buf[:n])
		}
		if err != nil {
			break
		}
	}
	over(false)
	hearing.Wait()
	d.o.Sink.Tunnel(&event.Tunnel{Door: event.DoorConnectUDP, Up: up.Load(), Down: down.Load(), Took: time.Since(began)})
}

// capsules is a flow whose datagrams travel in capsules of a stream (RFC 9297, section 3.5).
type capsules struct {
	stream tunnelStream
	out    []byte // of one goroutine
}

func newCapsules(s tunnelStream) *capsules { return &capsules{stream: s} }

func (c *capsules) hear(take func([]byte)) error {
	r := masque.NewReader(bufio.NewReader(c.stream))
	for {
		payload, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		take(payload)
	}
}

func (c *capsules) send(payload []byte) error {
	if len(payload) > masque.MaxPayload {
		return nil
	}
	c.out = masque.AppendCapsule(c.out[:0], payload)
	_, err := c.stream.Write(c.out)
	return err
}

func (c *capsules) end(whole bool) {
	if half, ok := c.stream.(interface{ CloseWrite() error }); ok && whole {
		_ = c.stream.SetWriteDeadline(time.Now().Add(linger)) // a client that takes nothing more is not waited for
		_ = half.CloseWrite()
	}
	c.stream.finish()
}

// datagrams is a flow of HTTP/3: what the client sends comes in datagrams of QUIC, or in capsules of the stream, and is
// answered in what the client is known to take (RFC 9297, section 2.1.1).
type datagrams struct {
	capsules
	s      *stream3
	client http3.Settingser
	ctx    context.Context
	cancel context.CancelFunc
}

func newDatagrams(s *stream3, w http.ResponseWriter) *datagrams {
	d := &datagrams{capsules: capsules{stream: s}, s: s}
	d.client, _ = w.(http3.Settingser)
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

func (d *datagrams) hear(take func([]byte)) error {
	var one sync.Mutex // take is of one goroutine at a time
	var hearing sync.WaitGroup
	defer hearing.Wait()
	defer d.cancel()
	hearing.Go(func() {
		for {
			b, err := d.s.ReceiveDatagram(d.ctx)
			if err != nil {
				return // the stream ended; whoever reads the capsules says so
			}
			if payload, ok, err := masque.ParseUDP(b); ok && err == nil {
				one.Lock()
				take(payload)
				one.Unlock()
			}
		}
	})
	return d.capsules.hear(func(payload []byte) {
		one.Lock()
		defer one.Unlock()
		take(payload)
	})
}

func (d *datagrams) send(payload []byte) error {
	if !d.takesDatagrams() {
		return d.capsules.send(payload)
	}
	err := d.s.SendDatagram(masque.AppendUDP(make([]byte, 0, 1+len(payload)), payload))
	var tooLong *quic.DatagramTooLargeError
	if errors.As(err, &tooLong) {
		return nil // as on a path whose packets are too small
	}
	return err
}

func (d *datagrams) takesDatagrams() bool {
	if d.client == nil {
		return false
	}
	select {
	case <-d.client.ReceivedSettings():
		return d.client.Settings().EnableDatagrams
	default:
		return false
	}
}

func (d *datagrams) end(whole bool) {
	d.cancel()
	d.capsules.end(whole)
}
