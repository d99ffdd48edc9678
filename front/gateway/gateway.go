// Package gateway is the door for programs that take a base URL instead of a proxy: a request for a path of its own
// listener goes, as an https request, to the origin that the configuration gives to that path, through a channel.
//
// It promises that an origin is reached through the channel's dialer alone, authenticated, and never without Encrypted
// Client Hello where the origin's own record asks for it; that what is streamed is passed on as it comes, both ways; and
// that it serves no host which is not listed, and no web page of somebody else. It follows no redirect, adds nothing to a
// request but the fields of the configuration, keeps no content, and never opens a socket or looks a name up.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"watertight/event"
	"watertight/gate"
	"watertight/httpserve"
)

// Limits of what clients send.
const (
	maxHead       = 128 << 10        // octets of a request's head
	headTimeout   = 10 * time.Second // for a request's head
	idleTimeout   = 90 * time.Second // between two requests
	stallTimeout  = 2 * time.Minute  // in which a client takes nothing of a response, or sends nothing of a body over HTTP/1.1
	pingAfter     = 30 * time.Second // of silence on a connection of HTTP/2
	pingTimeout   = 15 * time.Second
	maxStreams    = 250 // requests at once on a client's connection of HTTP/2
	maxFromClient = 1 << 20
)

// Options are what a gateway is made of.
type Options struct {
	// Current gives the table in force; a request is decided by it alone. release is called, once, when it is.
	Current func() (t *Table, release func())
	// Sink is told of the requests that the gateway refuses by itself, of those that went over a connection which was
	// there already, and of the end of each tunnel.
	Sink event.Sink
	// Logger is told of faults of the program, without names.
	Logger *slog.Logger
	// Keeper checks passwords, and counts what each user has.
	Keeper *gate.Keeper
	// Connections bounds the connections of clients at one time, and the requests too. Zero means 20,000.
	Connections int
	// DrainLimit bounds the time that requests get to end by themselves in Drain. Zero means that they get none.
	DrainLimit time.Duration
}

func (o *Options) validate() error {
	switch {
	case o.Current == nil:
		return errors.New("gateway: it needs to know the table in force")
	case o.Sink == nil:
		return errors.New("gateway: it needs an event sink")
	case o.Logger == nil:
		return errors.New("gateway: it needs a logger")
	case o.Keeper == nil:
		return errors.New("gateway: it needs a keeper of passwords")
	case o.Connections < 0 || o.DrainLimit < 0:
		return errors.New("gateway: a limit is negative")
	}
	if o.Connections == 0 {
		o.Connections = 20000
	}
	return nil
}

// Gateway serves clients. Make it with [New].
type Gateway struct {
	o           Options
	server      *http.Server
	connections atomic.Int64
	drainLimit  atomic.Int64

	conns    atomic.Int64 // connections of clients, tunnels among them
	requests atomic.Int64

	handshakes atomic.Uint64 // of TLS that failed

	inside  *pipeListener
	started sync.Once

	live    context.Context // of tunnels
	cut     context.CancelFunc
	mu      sync.Mutex
	drained bool
	tunnels sync.WaitGroup
	serving sync.WaitGroup
}

// New makes a gateway.
func New(o Options) (*Gateway, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	g := &Gateway{o: o, inside: newPipeListener()}
	g.live, g.cut = context.WithCancel(context.Background())
	g.connections.Store(int64(o.Connections))
	g.drainLimit.Store(int64(o.DrainLimit))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true) // as clients of gRPC speak it
	g.server = &http.Server{
		Handler:                      httpserve.Contain(http.HandlerFunc(g.serve), o.Logger),
		Protocols:                    protocols,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: stallTimeout},
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            headTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHead,
		ErrorLog:                     log.New(io.Discard, "", 0), // what clients do wrong is no news, and could name what they ask for
		BaseContext: func(l net.Listener) context.Context {
			if l, ok := l.(*listener); ok {
				return context.WithValue(context.Background(), termsKey{}, l.terms)
			}
			return context.Background()
		},
		ConnContext: g.welcome,
		ConnState:   g.count,
	}
	return g, nil
}

// SetLimits changes the limits from now on; what is open stays open. They mean what they mean in [Options].
func (g *Gateway) SetLimits(connections int, drain time.Duration) error {
	o := g.o
	o.Connections, o.DrainLimit = connections, drain
	if err := o.validate(); err != nil {
		return err
	}
	g.connections.Store(int64(o.Connections))
	g.drainLimit.Store(int64(o.DrainLimit))
	return nil
}

// Serve accepts connections on l until ctx ends, and closes l. terms gives those in force at that moment. It
// gives nil then, or the error that ended the listener. The connections stay until [Gateway.Drain]. It may be called for
// several listeners at once.
func (g *Gateway) Serve(ctx context.Context, l net.Listener, terms func() Terms) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	if !g.enter(&g.serving) {
		return errors.Join(l.Close(), http.ErrServerClosed)
	}
	defer g.serving.Done()
	err := g.server.Serve(&listener{l, terms})
	_ = l.Close()
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// enter books something that Drain waits for, unless it is too late.
func (g *Gateway) enter(wg *sync.WaitGroup) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.drained {
		return false
	}
	wg.Add(1)
	return true
}

// Connect gives a connection to the gateway that never leaves this process, for a client that asked another door for a
// listener's address. local is that address.
func (g *Gateway) Connect(client, local net.Addr, terms func() Terms) (net.Conn, error) {
	g.started.Do(func() {
		if g.enter(&g.serving) {
			go func() {
				defer g.serving.Done()
				_ = g.server.Serve(g.inside) // it ends with the server
			}()
		}
	})
	return g.inside.connect(client, local, terms)
}

// count counts connections, and ends those over the limit.
func (g *Gateway) count(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if g.conns.Add(1) > g.connections.Load() {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked: // a tunnel counts itself
		g.conns.Add(-1)
		if secure, ok := c.(*tls.Conn); ok && !secure.ConnectionState().HandshakeComplete {
			g.handshakes.Add(1)
		}
	}
}

// Handshakes counts those of TLS that failed, since the gateway was made.
func (g *Gateway) Handshakes() uint64 { return g.handshakes.Load() }

// Drain ends the gateway, whose listeners have ended or are about to. Requests get the drain limit, and what is left is
// cut. It returns when the last has ended.
func (g *Gateway) Drain() {
	g.mu.Lock()
	g.drained = true
	g.mu.Unlock()
	_ = g.inside.Close()
	patience, cancel := context.WithTimeout(context.Background(), time.Duration(g.drainLimit.Load()))
	defer cancel()
	stop := context.AfterFunc(patience, g.cut)
	defer stop()
	if g.server.Shutdown(patience) != nil {
		_ = g.server.Close()
	}
	g.tunnels.Wait()
	g.serving.Wait()
	g.cut()
}
