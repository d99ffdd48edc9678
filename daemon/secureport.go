package daemon

import (
	"context"
	"crypto/tls"
	"errors"

	"watertight/front/httpproxy"
	"watertight/gate"
)

// serveProxy serves a listener of the mixed port; with HTTP/3 both of its sockets, and where one fails the other ends too.
func (d *Daemon) serveProxy(ctx context.Context, l *listener) error {
	if l.packets == nil {
		return d.port.Serve(ctx, l.socket, l.way.Load)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	h3 := make(chan error, 1)
	go func() {
		defer stop()
		h3 <- d.http.ServeHTTP3(ctx, l.packets, httpproxy.HTTP3{
			TLS:    func() *tls.Config { return l.way.Load().TLS },
			Rules:  func() *gate.Rules { return l.way.Load().Rules },
			Keeper: d.keeper, Take: d.port.Take, Crowded: d.port.Crowded, Drain: d.drainLimit,
		})
	}()
	err := d.port.Serve(ctx, l.socket, l.way.Load)
	stop()
	return errors.Join(err, <-h3)
}
