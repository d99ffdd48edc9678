package control

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"

	"watertight/fault"
	"watertight/gate"
)

// Door is what a listener of the admin port asks of its clients. Its functions are called for each connection and each
// request.
type Door struct {
	// TLS gives what is spoken by those who connect from now on; nil: the port is in clear.
	TLS func() *tls.Config
	// Rules say who is let in.
	Rules  func() *gate.Rules
	Keeper *gate.Keeper
}

func (d Door) validate() error {
	if d.TLS == nil || d.Rules == nil || d.Keeper == nil {
		return errors.New("control: a door needs its TLS, its rules and someone who keeps it")
	}
	return nil
}

// doorListener speaks TLS on connections where the door does.
type doorListener struct {
	net.Listener
	d *Door
}

// Accept gives the next connection, whose handshake the HTTP server makes.
func (l *doorListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	config := l.d.TLS()
	if config == nil {
		return conn, nil
	}
	config = config.Clone()
	config.NextProtos = []string{gate.HTTP1}
	config.SessionTicketsDisabled = true // each connection shows a certificate of its own time
	return tls.Server(conn, config), nil
}

// handshaken counts a connection that ended before its handshake was complete.
func (s *Server) handshaken(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*tls.Conn); ok && state == http.StateClosed && !c.ConnectionState().HandshakeComplete {
		s.handshakes.Add(1)
	}
}

type guestKey struct{}

// enter makes a guest of a connection.
func (d *Door) enter(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, guestKey{}, &gate.Guest{
		Client: addrPort(conn.RemoteAddr()), Self: addrPort(conn.LocalAddr()), Keeper: d.Keeper, Rules: d.Rules,
	})
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(t.AddrPort().Addr().Unmap(), t.AddrPort().Port())
}

// admit puts the rules before h: user and password, or a token in its place, come by Basic authentication (RFC 7617).
func (d *Door) admit(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, ok := r.Context().Value(guestKey{}).(*gate.Guest)
		if !ok {
			refuse(w, http.StatusInternalServerError, "nobody knows whose request this is")
			return
		}
		err := d.check(g, r)
		if err == nil {
			h.ServeHTTP(w, r)
			return
		}
		f, status := fault.Of(err), http.StatusForbidden
		switch f.Code {
		case fault.AuthRequired:
			status = http.StatusUnauthorized
			if g.NeedsPassword() {
				w.Header().Set("WWW-Authenticate", `Basic realm="watertight", charset="UTF-8"`)
			}
		case fault.Limit, fault.NotReady:
			status = http.StatusServiceUnavailable
		case fault.BadRequest:
			status = http.StatusBadRequest
		}
		if g.Exhausted() || g.Outdated() || d.clear(r) {
			w.Header().Set("Connection", "close")
		}
		refuse(w, status, f.Message)
	})
}

// clear says that a request came in clear where TLS is spoken now: on a connection from before a reload.
func (d *Door) clear(r *http.Request) bool { return r.TLS == nil && d.TLS() != nil }

// check says why a request is not answered; nil where it is. The error shows nothing of what the client said. The requests
// of a connection come one after the other.
func (d *Door) check(g *gate.Guest, r *http.Request) error {
	if d.clear(r) {
		return fault.New(fault.BadRequest, "this port speaks TLS only, since after this connection began", nil)
	}
	if r.TLS != nil {
		var err error
		if g.Certified, err = gate.CertifiedUser(r.TLS); err != nil {
			return fault.New(fault.AuthRequired, "the certificate names no user", nil)
		}
		g.Authorities = nil
		if now := d.TLS(); now != nil && gate.Vouches(now.ClientCAs, r.TLS) { // others may be in force since the handshake
			g.Authorities = now.ClientCAs
		}
	}
	var c gate.Credentials
	if user, password, ok := r.BasicAuth(); ok && g.NeedsPassword() { // nobody else asked for them
		c.Username, c.Password = user, password
	}
	_, err := g.Admit(r.Context(), c)
	return err
}
