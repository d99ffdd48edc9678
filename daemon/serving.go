package daemon

import (
	"context"
	"errors"

	"watertight/config"
)

// serveDNS serves a listener; with UDP and TCP both of its sockets, and where one fails the other ends too.
func (d *Daemon) serveDNS(ctx context.Context, l *listener) error {
	switch l.scheme {
	case config.SchemeTLS:
		return d.dns.ServeTLS(ctx, l.socket, l.tls.Load)
	case config.SchemeQUIC:
		return d.dns.ServeQUIC(ctx, l.packets, l.tls.Load)
	case config.SchemeHTTPS:
		return d.dns.ServeHTTPS(ctx, l.socket, l.packets, l.tls.Load)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	udp := make(chan error, 1)
	go func() {
		defer stop()
		udp <- d.dns.ServeUDP(ctx, l.packets)
	}()
	err := d.dns.ServeTCP(ctx, l.socket)
	stop()
	return errors.Join(err, <-udp)
}
