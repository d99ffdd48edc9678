package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"watertight/gate"
)

// Terms are what a listener is called beside its own address, which web pages may use it, and what it asks of its clients.
type Terms struct {
	Hosts   []string // as in a Host field: HOST or HOST:PORT, in lower case
	Origins []string // as in an Origin field: https://app.example.com, in lower case
	// Rules are what it asks of its clients; nil lets nobody in.
	Rules *gate.Rules
	// TLS is what it speaks; nil: clear text. A connection keeps what it began with.
	TLS *tls.Config
}

type (
	termsKey struct{}
	guestKey struct{}
)

// listener is one with its terms.
type listener struct {
	net.Listener
	terms func() Terms
}

// Accept gives the next connection, over TLS where the listener speaks it at that moment. The handshake is the server's.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if config := l.terms().TLS; config != nil {
		return tls.Server(c, config), nil
	}
	return c, nil
}

// guest is the client of one connection.
type guest struct {
	*gate.Guest
	terms func() Terms
	shown sync.Once // its certificate was looked at
}

// welcome gives each connection its guest.
func (g *Gateway) welcome(ctx context.Context, c net.Conn) context.Context {
	terms, _ := ctx.Value(termsKey{}).(func() Terms)
	if p, ok := c.(*pipe); ok {
		terms = p.terms
	}
	if terms == nil {
		terms = func() Terms { return Terms{} }
	}
	self, _ := addrOf(c.LocalAddr())
	from, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	conn, _ := c.(gate.Conn)
	return context.WithValue(ctx, guestKey{}, &guest{terms: terms, Guest: &gate.Guest{
		Conn: conn, Client: from, Self: self, Keeper: g.o.Keeper,
		Rules: func() *gate.Rules {
			if r := terms().Rules; r != nil {
				return r
			}
			return gate.Closed()
		},
	}})
}

// guestOf gives the guest whose request it is, with what its certificate says.
func guestOf(r *http.Request) *guest {
	g := r.Context().Value(guestKey{}).(*guest)
	g.shown.Do(func() {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			g.Shown = r.TLS.PeerCertificates[0]
		}
		c := g.terms().TLS
		if r.TLS == nil || c == nil || !gate.Vouches(c.ClientCAs, r.TLS) {
			return
		}
		if user, err := gate.CertifiedUser(r.TLS); err == nil {
			g.Certified, g.Authorities = user, c.ClientCAs
		}
	})
	return g
}

// isOver says that nothing more is to come of the client's connection.
func (g *guest) isOver() bool { return g != nil && (g.Outdated() || g.Exhausted()) }
