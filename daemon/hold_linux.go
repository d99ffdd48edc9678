package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"

	"watertight/accesslog"
	"watertight/channel"
	"watertight/config"
	"watertight/contain"
	"watertight/contain/network"
	"watertight/fault"
	"watertight/front/dns"
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

	transparent *transparent.Door
	dns         *dns.Door

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
	h := &hold{log: o.Log(c), only: o.Channel}
	if h.access, err = accesslog.New(h.log, c.Log.Names); err != nil {
		return nil, err
	}
	m, err := newDiary(stateDir(c, o.State), h.log)
	if err != nil {
		return nil, InvalidError{err}
	}
	if m != nil {
		m.reads = true
	}
	if h.g, err = build(c, shared{ground: o.Ground, sink: h.access, floor: m.floor(), diary: m}, nil); err != nil {
		return nil, InvalidError{err}
	}
	h.board.swap(h.g)
	if err := h.openDoors(c); err != nil {
		h.g.discard(nil)
		return nil, err
	}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.g.start(h.ctx)
	h.serving.Go(func() { _ = h.access.Run(h.ctx) })
	return h, nil
}

func (h *hold) openDoors(c *config.Config) (err error) {
	h.transparent, err = transparent.New(transparent.Options{
		Dialer: &h.board, Relay: relay.Pipe, Sink: h.access, Logger: h.access.Sparing(),
		Own:         func(_, _ netip.AddrPort) bool { return false }, // nothing of this program's is in that network
		Connections: c.Limits.Connections, Flows: maxTransparentFlows,
	})
	if err != nil {
		return err
	}
	h.dns, err = dns.New(dns.Options{
		Handler: &h.board, Logger: h.log,
		PlainClients: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)},
	})
	return err
}

// ready waits until the resolver of every channel that can be used has answered once, and gives the first fault at once.
func (h *hold) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyToRun)
	defer cancel()
	var used []*channel.Channel
	for _, r := range h.g.channels {
		if h.only == "" || r.Name() == h.only {
			used = append(used, r.Channel)
		}
	}
	faults := make(chan error, len(used))
	for _, c := range used {
		go func() { faults <- settle(ctx, h.g, c) }()
	}
	for range used {
		if err := <-faults; err != nil {
			f := fault.Of(err)
			err = errors.New(f.Message)
			if hint := f.NextStep(); hint != "" {
				err = fmt.Errorf("%w\n%s", err, hint)
			}
			return &contain.NotStarted{Code: contain.ExitUncontained, Err: err}
		}
	}
	return nil
}

// serve serves the program's sockets until close.
func (h *hold) serve(s network.Sockets, replies transparent.ReplyFrom) {
	watch := func(what string, serve func() error) {
		h.serving.Go(func() {
			if err := serve(); err != nil && h.ctx.Err() == nil {
				h.log.Error("what the program sends is not carried any more", "over", what, "error", err)
			}
		})
	}
	for at, l := range map[netip.AddrPort]*net.TCPListener{network.Door4: s.TCP4, network.Door6: s.TCP6} {
		if l != nil {
			watch("TCP", func() error { return h.transparent.Serve(h.ctx, l, transparent.Here(at)) })
		}
	}
	for _, c := range []*net.UDPConn{s.UDP4, s.UDP6} {
		if c != nil {
			watch("UDP", func() error { return h.transparent.ServeUDP(h.ctx, c, replies) })
		}
	}
	watch("DNS over TCP", func() error { return h.dns.ServeTCP(h.ctx, s.DNS) })
	watch("DNS over UDP", func() error { return h.dns.ServeUDP(h.ctx, s.DNSUDP) })
}

// close ends the doors, which are of no use without the program, and the channels.
func (h *hold) close() {
	h.stop()
	h.transparent.Drain(0)
	h.serving.Wait()
	h.g.inFlight.Wait()
	h.g.discard(nil)
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
