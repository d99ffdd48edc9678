package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"

	"watertight/accesslog"
	"watertight/config"
	"watertight/contain"
	"watertight/contain/network"
	"watertight/event"
	"watertight/fault"
	"watertight/front/contained"
	"watertight/front/transparent"
	"watertight/relay"
	"watertight/route"
)

// hold carries what a contained program sends: the channels of a configuration, and the doors at the program's sockets.
type hold struct {
	board  switchboard
	g      *generation
	only   string // the channel that carries everything; empty leaves it to the routes
	log    *slog.Logger
	access *accesslog.Log
	sink   event.Sink      // the log, and told
	door   *contained.Door // once the program's sockets are served
	told   event.Tally     // what the program was not given, which it cannot tell from a fault of the network

	ctx     context.Context
	stop    context.CancelFunc
	serving sync.WaitGroup
}

// newHold reads the configuration, and opens and starts its channels.
func newHold(o ExecOptions) (*hold, error) {
	c, err := o.Load()
	if err != nil {
		return nil, err
	}
	if c, err = onlyThrough(c, o.Channel); err != nil {
		return nil, err
	}
	ground, err := groundFor(c, o.Ground)
	if err != nil {
		return nil, &contain.NotStarted{Code: contain.ExitUncontained, Err: err}
	}
	h := &hold{log: o.Log(c), only: o.Channel}
	if h.access, err = accesslog.New(h.log, c.Log.Names); err != nil {
		return nil, err
	}
	if h.sink, err = event.Tee(h.access, ofProgram{&h.told}); err != nil {
		return nil, err
	}
	m, err := newDiary(stateDir(c, o.State), h.log)
	if err != nil {
		return nil, InvalidError{err}
	}
	if m != nil {
		m.reads = true
	}
	if h.g, err = build(c, shared{ground: ground, sink: h.sink, floor: m.floor(), diary: m}, nil); err != nil {
		return nil, InvalidError{err}
	}
	h.board.swap(h.g)
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.g.start(h.ctx)
	h.serving.Go(func() { _ = h.access.Run(h.ctx) })
	return h, nil
}

// ready waits until the resolver of every channel that can be used has answered once, and gives the first fault at once.
func (h *hold) ready(ctx context.Context) error {
	if err := answered(ctx, h.g, h.only); err != nil {
		return &contain.NotStarted{Code: contain.ExitUncontained, Err: err}
	}
	return nil
}

// serve serves the program's sockets, and closes them, until close.
func (h *hold) serve(s network.Sockets, replies transparent.ReplyFrom, realAddresses bool) error {
	door, err := contained.New(contained.Options{
		Board: &h.board, Relay: relay.Pipe, Sink: h.sink, Logger: h.access.Sparing(),
		Connections: h.g.config.Limits.Connections, Flows: maxTransparentFlows,
		Full: full(&h.told), RealAddresses: realAddresses, NoIPv6: s.TCP6 == nil,
	})
	if err != nil {
		return errors.Join(err, s.Close())
	}
	h.door = door
	sockets := socketsFor(s, replies)
	h.serving.Go(func() {
		if err := door.Serve(h.ctx, sockets); err != nil && h.ctx.Err() == nil {
			h.log.Error("what the program sends is not carried any more", "error", err)
		}
		_ = s.Close() // what the door has not closed
	})
	return nil
}

// socketsFor gives a door the sockets of a program.
func socketsFor(s network.Sockets, replies transparent.ReplyFrom) contained.Sockets {
	sockets := contained.Sockets{
		DNS: []*net.TCPListener{s.DNS}, DNSPackets: []*net.UDPConn{s.DNSPackets},
		ReplyFrom: replies, Unreachable: contained.Unreachable(s.ICMP4, s.ICMP6),
	}
	for _, l := range []*net.TCPListener{s.TCP4, s.TCP6} {
		if l != nil {
			sockets.TCP = append(sockets.TCP, l)
		}
	}
	for _, c := range []*net.UDPConn{s.UDP4, s.UDP6} {
		if c != nil {
			sockets.UDP = append(sockets.UDP, c)
		}
	}
	return sockets
}

// close ends the door, which is of no use without the program, and the channels.
func (h *hold) close() {
	h.stop()
	h.serving.Wait()
	h.g.inFlight.Wait()
	h.g.discard(nil)
}

// ofProgram passes on what became of the connections and datagrams of a contained program.
type ofProgram struct{ *event.Tally }

// Request passes on those of the program's own sockets. What became of a question, the program was told.
func (p ofProgram) Request(r *event.Request) {
	if r.Door == event.DoorExec || r.Door == event.DoorExecUDP {
		p.Tally.Request(r)
	}
}

// full counts connections for which there was no room.
func full(t *event.Tally) func() {
	return func() { t.Request(&event.Request{Code: fault.Limit}) }
}

// report says, once the program has ended, how much of what it sent was refused or failed.
func (h *hold) report() {
	if codes := h.told.String(); codes != "" {
		h.log.Warn("the program was refused connections or datagrams, or they failed", "codes", codes, "each", "--log-level info")
	}
}

func namesOfChannels(c *config.Config) string {
	var names []string
	for _, ch := range c.Channels {
		names = append(names, ch.Name)
	}
	return strings.Join(names, ", ")
}

func everyHost() []route.Pattern {
	every, err := route.ParsePattern("*")
	if err != nil {
		panic(err) // it is the first form of all
	}
	return []route.Pattern{every}
}
