// Package control is how a running program is watched and steered: an HTTP surface for monitoring on a TCP port, and
// the same with the commands on a UNIX socket that belongs to the program's user alone. It holds the client of that
// socket too, for the command line.
//
// It promises that nothing it shows names a target of a client; that only the owner of the process and root can give
// commands; that a web page cannot read it through a browser, not even by DNS rebinding; and that slow, endless or
// many clients cost little. It never opens a TCP socket and never decides anything: it asks its [Source].
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"watertight/httpserve"
)

// Source is the program as this package sees it. Its methods are called from any goroutine, and at the same time.
type Source interface {
	// Status tells everything at this moment.
	Status() Status
	// Ready says whether every channel is ready, and otherwise which is not and why, a line each.
	Ready() (bool, []string)
	// Proxies gives the listeners that browsers can be pointed at.
	Proxies() []Proxy
	// Reload loads the configuration again. On an error nothing has changed; it is [ErrInvalid] where the
	// configuration is at fault.
	Reload(ctx context.Context) error
	// Flush empties the cache of a channel, or of every channel where the name is empty. Where there is no such channel
	// the error is an *[UnknownChannelError].
	Flush(channel string) ([]Flushed, error)
}

// ErrInvalid is what the error of a reload wraps where the configuration is at fault.
var ErrInvalid = errors.New("the configuration is not valid")

// Options is what a server needs. All of it must be given.
type Options struct {
	Source  Source
	Metrics http.Handler
	Log     *slog.Logger
}

func (o Options) validate() error {
	switch {
	case o.Source == nil:
		return errors.New("control: no source is given")
	case o.Metrics == nil:
		return errors.New("control: no handler for metrics is given")
	case o.Log == nil:
		return errors.New("control: no logger is given")
	}
	return nil
}

// Limits on every client of the surface.
const (
	maxClients  = 256 // connections at a time for each listener; more of them wait
	maxHeader   = 16 << 10
	headerLimit = 5 * time.Second
	readLimit   = 10 * time.Second
	writeLimit  = 30 * time.Second
	idleLimit   = 60 * time.Second
	reloadLimit = 60 * time.Second
	drainLimit  = 2 * time.Second // for requests in progress when the server stops
)

// Server serves the surface.
type Server struct {
	o          Options
	handshakes atomic.Uint64
}

// Handshakes counts those of TLS that failed, since the server was made.
func (s *Server) Handshakes() uint64 { return s.handshakes.Load() }

// New checks the options. Nothing is served yet.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Server{o: o}, nil
}

// ServeAdmin serves what may be watched to those whom the door lets in, until ctx is done; then it closes l and gives nil.
// It takes GET and HEAD only: there is no command on a port that every user of the host can reach.
func (s *Server) ServeAdmin(ctx context.Context, l *net.TCPListener, d Door) error {
	if err := d.validate(); err != nil {
		_ = l.Close()
		return err
	}
	return s.serve(ctx, l, guarded(d.admit(s.admin()), hostIsLocal), &d)
}

// ServeControl serves what may be watched and the commands, until ctx is done; then it closes l and gives nil.
func (s *Server) ServeControl(ctx context.Context, l *Socket) error {
	return s.serve(ctx, l, guarded(s.commands()), nil)
}

// serve serves a listener; d is nil for the control socket.
func (s *Server) serve(ctx context.Context, l net.Listener, h http.Handler, d *Door) error {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	server := &http.Server{
		Handler:           httpserve.Contain(h, s.o.Log),
		Protocols:         &http1,
		ReadHeaderTimeout: headerLimit,
		ReadTimeout:       readLimit,
		WriteTimeout:      writeLimit,
		IdleTimeout:       idleLimit,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },

		DisableGeneralOptionsHandler: true, // `OPTIONS *` is refused like every other method
	}
	l = newSlots(l, maxClients)
	if d != nil {
		l = &doorListener{l, d}
		server.ConnContext, server.ConnState = d.enter, s.handshaken
	}
	if err := httpserve.Serve(ctx, server, l, drainLimit); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return nil
}
