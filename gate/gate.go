// Package gate is who may come in by a door: the users of a file with their passwords and tokens, the certificates of
// clients, and how much one user may have at once; and this program itself while it tests itself.
//
// It promises that where proof is asked for nobody is let in without it; that a wrong password, and a user who does not
// exist, cost as much time as a right one; that what this costs in all is bounded; and that no name and no secret stands
// in an error. It never opens a connection, and never asks anyone else who a client is.
package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"sync/atomic"

	"watertight/client"
	"watertight/fault"
	"watertight/wire"
)

// Conn is a client's connection as a door uses it: a [*net.TCPConn] where nothing stands between, which a relay then
// knows for one, or a [*Secure].
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Secure is a connection with TLS.
type Secure struct {
	*tls.Conn
	// Socket is what it stands on.
	Socket *net.TCPConn
}

// Abort ends the connection such that the client does not take it for an orderly end.
func (s *Secure) Abort() {
	_ = s.Socket.SetLinger(0) // it fails where the socket is gone already
	_ = s.Socket.Close()
}

// Abort sees to it that a connection, which is closed next, does not end as an orderly one does.
func Abort(c Conn) {
	switch c := c.(type) {
	case *net.TCPConn:
		_ = c.SetLinger(0) // it fails where the socket is gone already
	case interface{ Abort() }:
		c.Abort()
	}
}

// Rules are what a listener asks of its clients. The zero Rules let nobody in.
type Rules struct {
	ask     asks
	users   *Users
	key     []byte
	clients *x509.CertPool // who certifies clients; nil: nobody has to
	overTLS bool           // what is said in clear is not heard
	test    bool           // a pass lets in as well
}

type asks int

const (
	asksNobody asks = iota
	asksNothing
	asksPassword
	asksCertificate
	isClosed
)

// Closed lets nobody in: they are those of a listener that the configuration does not name any more.
func Closed() *Rules { return &Rules{ask: isClosed} }

// Open lets everyone in; a name is taken without proof.
func Open() *Rules { return &Rules{ask: asksNothing} }

// Guarded lets the users of a file in, by password or by a token signed with key. An empty key means that no token is good.
func Guarded(u *Users, key []byte) *Rules { return &Rules{ask: asksPassword, users: u, key: key} }

// Certified lets in whoever showed a certificate of these authorities, as the user that it names.
func Certified(clients *x509.CertPool) *Rules { return &Rules{ask: asksCertificate, clients: clients} }

// With asks for a certificate of these authorities besides; nil asks for none.
func (r *Rules) With(clients *x509.CertPool) *Rules {
	r.clients = clients
	return r
}

// OverTLS hears none who speaks in clear.
func (r *Rules) OverTLS() *Rules {
	r.overTLS = true
	return r
}

// ForTest lets in by a [Pass], too.
func (r *Rules) ForTest() *Rules {
	r.test = true
	return r
}

// Everyone says that nobody is asked who he is.
func (r *Rules) Everyone() bool { return r.Unproven() && !r.overTLS }

// Unproven says that nobody has to prove who he is; over TLS that may be.
func (r *Rules) Unproven() bool { return r.ask == asksNothing && r.clients == nil }

// AsksPassword says that nobody is let in without user and password.
func (r *Rules) AsksPassword() bool { return r.ask == asksPassword }

// Guest is a client at a door.
type Guest struct {
	Conn   Conn
	Client netip.AddrPort // where it is, as a balancer says where there is one
	Self   netip.AddrPort // the address that it connected to
	// Certified is the user of its certificate; empty if it showed none.
	Certified string
	// Authorities are those by which that certificate was found good.
	Authorities *x509.CertPool
	// Shown is the certificate that it showed, whoever vouches for it; nil for none.
	Shown  *x509.Certificate
	Keeper *Keeper
	// Rules gives those in force for the listener.
	Rules func() *Rules

	wrong atomic.Int32
}

// NewGuest makes a guest of a connection by which nobody stands between.
func NewGuest(conn *net.TCPConn, k *Keeper, rules func() *Rules) *Guest {
	return &Guest{Conn: conn, Client: addrPort(conn.RemoteAddr()), Self: addrPort(conn.LocalAddr()), Keeper: k, Rules: rules}
}

func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Credentials are what a client says of itself. The zero Credentials are a client that says nothing.
type Credentials struct{ Username, Password string }

// NeedsPassword says that a client without user and password is not let in.
func (g *Guest) NeedsPassword() bool { return g.Rules().AsksPassword() }

// Admit says for whom the client's requests are. The error is a [*fault.Error] and shows nothing of what the client said:
// [fault.AuthRequired] without proof, [fault.BadRequest] for a name that cannot be read, [fault.Limit] where too many
// passwords are being checked, [fault.NotReady] where the listener is no more.
func (g *Guest) Admit(ctx context.Context, c Credentials) (client.Identity, error) {
	r := g.Rules()
	if f := g.outdated(r); f != nil {
		return client.Identity{}, f
	}
	if r.test && r.ask != asksNobody {
		if id, ok := g.Keeper.passes(g, r, c); ok {
			return id, nil
		}
	}
	if r.clients != nil && (g.Certified == "" || g.Authorities == nil || !g.Authorities.Equal(r.clients)) {
		return client.Identity{}, &fault.Error{
			Code: fault.AuthRequired, Message: "this proxy asks for a certificate of another authority",
			Hint: "connect anew: who certifies clients has changed since this connection began",
		}
	}
	if r.ask == asksPassword && c.Username == "" {
		return client.Identity{}, needed()
	}
	id, err := client.Parse(c.Username)
	if err != nil {
		return client.Identity{}, &fault.Error{
			Code: fault.BadRequest, Message: "the proxy's user: " + err.Error(),
			Hint: "write USER, or USER-session-ID and other labels behind it, as `watertight help user` says",
		}
	}
	switch r.ask {
	case asksNothing:
		return id, nil
	case asksCertificate:
		switch {
		case r.clients == nil || g.Certified == "":
			return client.Identity{}, fault.New(fault.AuthRequired, "this proxy asks for a certificate", nil)
		case id.User == "":
			return client.Identity{User: g.Certified}, nil
		case id.User != g.Certified:
			return client.Identity{}, &fault.Error{
				Code: fault.AuthRequired, Message: "the user is another than the certificate's",
				Hint: "give the user that the certificate names, or none",
			}
		}
		return id, nil
	case asksPassword:
		if err := g.Keeper.check(ctx, r, id.User, c.Password, g.Client.Addr()); err != nil {
			if fault.Of(err).Code == fault.AuthRequired {
				g.wrong.Add(1)
			}
			return client.Identity{}, err
		}
		return id, nil
	}
	return client.Identity{}, fault.New(fault.Internal, "nothing says who may come in here", nil)
}

// outdated says why a connection from before a change of the configuration carries nothing new; nil where it does.
func (g *Guest) outdated(r *Rules) *fault.Error {
	_, clear := g.Conn.(*net.TCPConn)
	switch {
	case r.ask == isClosed:
		return &fault.Error{
			Code: fault.NotReady, Message: "the listener of this connection is not in the configuration any more",
			Hint: "connect anew, to a listener that is",
		}
	case r.overTLS && clear: // no password is asked for, which would come in clear
		return &fault.Error{
			Code: fault.BadRequest, Message: "this port speaks TLS only, since after this connection began",
			Hint: "give the proxy as https://HOST:PORT, not http://",
		}
	}
	return nil
}

// Outdated says that the connection carries nothing new, whatever the client says: it should end.
func (g *Guest) Outdated() bool { return g.outdated(g.Rules()) != nil }

// maxWrong is how often one connection may give a wrong password.
const maxWrong = 8

// Exhausted says that the client gave so many wrong passwords that its connection should end.
func (g *Guest) Exhausted() bool { return g.wrong.Load() >= maxWrong }

// Enter counts something that the user begins, a tunnel or a request, against the limits of each user. leave is called
// when it has ended. The error is a [*fault.Error] with [fault.Limit].
func (g *Guest) Enter(id client.Identity) (leave func(), err error) {
	return g.Keeper.enter(id.Counted())
}

// WatchHangUp is [wire.WatchHangUp] for the client's connection. With TLS a client that says goodbye before it goes is
// noticed later: its goodbye cannot be told from something for the far side.
func (g *Guest) WatchHangUp(ctx context.Context) (watched context.Context, stop func()) {
	switch c := g.Conn.(type) {
	case *net.TCPConn:
		return wire.WatchHangUp(ctx, c)
	case *Secure:
		return wire.WatchHangUp(ctx, c.Socket)
	}
	return context.WithCancel(ctx)
}

// needed is the refusal of a client that says nothing of itself.
func needed() *fault.Error {
	return &fault.Error{
		Code: fault.AuthRequired, Message: "this proxy asks for user and password",
		Hint: "give them in the proxy's URL, as https://USER:PASSWORD@HOST:PORT",
	}
}

// refused is the refusal of a client whose proof is none.
func refused() *fault.Error {
	return &fault.Error{Code: fault.AuthRequired, Message: "the proxy's user or password is wrong", Hint: "check both; a user may have been removed, or a password changed"}
}
