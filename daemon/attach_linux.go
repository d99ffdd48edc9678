package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"watertight/contain"
	"watertight/contain/hull"
	"watertight/contain/network"
	"watertight/control"
	"watertight/event"
	"watertight/front/contained"
	"watertight/relay"
	"watertight/wire"
)

// AttachOptions is what [Attach] needs.
type AttachOptions struct {
	// Find gives the control socket of the running program.
	Find func(context.Context) (string, error)
	// Channel carries everything, whatever the routes say. Empty leaves it to the routes.
	Channel string
	// Command is the program with its arguments, and Env its environment.
	Command, Env []string
	// Setup is what the program finds around it.
	Setup contain.Setup
	// Publish are ports of the program that are reachable on this host.
	Publish []Publish
	// Signals are those that the program is to get.
	Signals <-chan syscall.Signal
	// Held is told what stands around the program, once it is started. Nil tells nobody.
	Held func(hull.Report)
	// Did is told what became of what the program sent, once it has ended, if the running proxy says it. Nil tells nobody.
	Did func(Summary)
	// Lost is called once, with the reason, when nobody carries the program any more while it runs.
	Lost func(error)
}

func (o AttachOptions) validate() error {
	switch {
	case o.Find == nil || o.Lost == nil:
		return errors.New("daemon: to attach a program needs a running proxy, and someone to tell of its end")
	case len(o.Command) == 0 || o.Setup.Dir == "":
		return errors.New("daemon: exec needs a program and its working directory")
	}
	return nil
}

// Attach runs a program as [Exec] does, whose sockets a running proxy serves. This process has no channels: when the other is gone,
// or does not want the program any more, what the program sends is refused.
func Attach(ctx context.Context, o AttachOptions) (syscall.WaitStatus, error) {
	if err := o.validate(); err != nil {
		return 0, err
	}
	socket, err := o.Find(ctx)
	if err != nil {
		return 0, err
	}
	program, err := contain.Begin(o.Command, o.Env, o.Setup) // it makes its network and its hull while the resolvers are asked
	if err != nil {
		return 0, err
	}
	defer program.Close()
	conn, err := control.Attach(ctx, socket, o.Channel)
	if err != nil {
		return 0, &contain.NotStarted{Code: contain.ExitUncontained, Err: err}
	}
	a := &attached{conn: conn, replies: program.ReplyFrom, slots: make(chan struct{}, maxReplies), gone: make(chan struct{}), did: make(chan Summary, 1)}
	a.ctx, a.stop = context.WithCancel(context.Background())
	defer a.close()
	sockets, err := program.Sockets(ctx)
	if err != nil {
		return 0, err
	}
	v6 := sockets.TCP6 != nil
	if err := a.handOver(ctx, sockets); err != nil {
		return 0, &contain.NotStarted{Code: contain.ExitUncontained, Err: err}
	}
	ports, err := reachable(ctx, program, o.Publish, v6)
	if err != nil {
		return 0, err
	}
	a.busy.Go(func() { ports.serve(a.ctx) })
	select {
	case <-a.gone:
		return 0, &contain.NotStarted{Code: contain.ExitUncontained, Err: a.why}
	default:
	}
	if err := program.Start(ctx); err != nil {
		return 0, err
	}
	if o.Held != nil {
		o.Held(program.Report())
	}
	a.busy.Go(func() {
		select {
		case <-a.gone:
			if a.why != nil {
				o.Lost(a.why)
			}
		case <-a.ctx.Done():
		}
	})
	return ended(program, o.Signals, func() {
		if did, ok := a.ask(); ok && o.Did != nil {
			o.Did(did)
		}
	})
}

// partingWait bounds how long the end of a program waits to hear what it did.
const partingWait = 2 * time.Second

// ask asks the running proxy what the program did, which has ended.
func (a *attached) ask() (Summary, bool) {
	a.over.Store(true)
	if tell(a.conn, toDaemon{Ended: true}) != nil {
		return Summary{}, false
	}
	timer := time.NewTimer(partingWait)
	defer timer.Stop()
	select {
	case did := <-a.did:
		return did, true
	case <-a.gone: // it may have said it, and gone
	case <-timer.C:
	}
	select {
	case did := <-a.did:
		return did, true
	default:
		return Summary{}, false
	}
}

// maxReplies bounds the sockets that are being opened inside for the running proxy at one time.
const maxReplies = 64

// attached is the end, here, of the conversation with the running proxy.
type attached struct {
	conn    *net.UnixConn
	replies func(netip.AddrPort) (*net.UDPConn, error)
	slots   chan struct{}

	names       []string      // of the sockets that are kept
	here, there *net.UnixConn // a connection of this process with itself, in which they lie: nothing wakes it up

	ctx  context.Context // of what serves the program
	stop context.CancelFunc
	busy sync.WaitGroup
	over atomic.Bool   // the program has ended
	did  chan Summary  // has the last word of the running proxy
	gone chan struct{} // closed when the running proxy is, or has said its last word; why is set then
	why  error
}

// handOver hands the sockets over, and waits until they are served. It closes them; copies lie ready for the end of the proxy.
func (a *attached) handOver(ctx context.Context, s network.Sockets) error {
	defer s.Close()
	defer context.AfterFunc(ctx, func() { _ = a.conn.Close() })()
	var sockets []syscall.Conn
	for name, one := range s.All() {
		a.names, sockets = append(a.names, name), append(sockets, one)
	}
	here, there, err := wire.Pair()
	if err != nil {
		return err
	}
	a.here = here
	if a.there, err = wire.PairOf(there); err != nil {
		return err
	}
	if err := wire.HandOver(a.here, []byte{0}, sockets...); err != nil {
		return err
	}
	if err := tell(a.conn, toDaemon{Sockets: a.names}, sockets...); err != nil {
		return err
	}
	served := make(chan struct{})
	a.busy.Go(func() { a.listen(served) })
	select {
	case <-served:
		return nil
	case <-a.gone:
		return errors.Join(ctx.Err(), a.why)
	}
}

// listen does what the running proxy asks for, until it is gone; then what the program sends is refused.
func (a *attached) listen(served chan<- struct{}) {
	err := a.obey(served)
	if a.ctx.Err() != nil { // the program has ended
		return
	}
	if a.over.Load() {
		close(a.gone) // nothing is lost
		return
	}
	a.why = fmt.Errorf("the running proxy does not carry it any more: %w", err)
	close(a.gone)
	a.refuse()
}

// obey gives why the running proxy asks for nothing any more.
func (a *attached) obey(served chan<- struct{}) error {
	b := make([]byte, maxAttachTalk)
	for {
		var o toExec
		files, err := heed(a.conn, b, &o)
		closeFiles(files) // none is wanted
		switch {
		case err != nil:
			return errProxyEnded
		case o.Failed != "":
			return errors.New(o.Failed)
		case o.Served && served != nil:
			close(served)
			served = nil
		case o.Did != nil:
			select {
			case a.did <- *o.Did:
			default: // it was said
			}
		case o.ID > 0 && o.From.IsValid() && o.From.Port() != 0:
			select {
			case a.slots <- struct{}{}:
				a.busy.Go(func() {
					defer func() { <-a.slots }()
					a.reply(o)
				})
			default:
				_ = tell(a.conn, toDaemon{ID: o.ID, Failed: "too many sockets are being opened"}) // if nobody hears it, the next word is the end
			}
		default:
			return errors.New("it said what is not understood")
		}
	}
}

var errProxyEnded = errors.New("it has ended, or ended the connection")

// reply opens a socket inside for the running proxy.
func (a *attached) reply(o toExec) {
	c, err := a.replies(o.From)
	if err != nil {
		_ = tell(a.conn, toDaemon{ID: o.ID, Failed: err.Error()}) // if nobody hears it, the next word is the end
		return
	}
	defer c.Close()
	_ = tell(a.conn, toDaemon{ID: o.ID}, c)
}

// refuse serves the program's sockets without any channel: connections are reset, questions and datagrams refused.
func (a *attached) refuse() {
	_ = a.conn.Close()
	_, files, err := wire.TakeOver(a.there, make([]byte, 1))
	if err != nil {
		return // then nobody hears the program, which is refused by a time-out
	}
	sockets, err := contain.SocketsOf(a.names, files)
	if err != nil {
		return
	}
	defer sockets.Close()
	door, err := contained.New(contained.Options{
		Board: nobody{}, Relay: relay.Pipe, Sink: event.Discard{}, Logger: slog.New(slog.DiscardHandler),
		Connections: maxRefused, Flows: maxRefused, NoIPv6: sockets.TCP6 == nil,
	})
	if err != nil {
		return
	}
	_ = door.Serve(a.ctx, socketsFor(sockets, a.replies)) // where it fails, the program is refused by a time-out
}

// maxRefused bounds what is being refused at one time.
const maxRefused = 256

// close ends the conversation, and what is served here.
func (a *attached) close() {
	a.stop()
	_ = a.conn.Close()
	a.busy.Wait()
	for _, c := range []*net.UnixConn{a.here, a.there} {
		if c != nil {
			_ = c.Close() // and the sockets in it
		}
	}
}
