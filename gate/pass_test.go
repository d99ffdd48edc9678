package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"watertight/client"
	"watertight/fault"
)

// yard is a listener, and the connections to it.
type yard struct {
	t *testing.T
	l *net.TCPListener
}

func newYard(t *testing.T) yard {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return yard{t, l}
}

func (y yard) dial(context.Context) (net.Conn, error) { return net.Dial("tcp", y.l.Addr().String()) }

// pair gives both ends of a connection, made by the pass where there is one.
func (y yard) pair(p *Pass) (near net.Conn, far *net.TCPConn) {
	y.t.Helper()
	dial := y.dial
	if p != nil {
		dial = func(ctx context.Context) (net.Conn, error) { return p.Dial(ctx, y.dial) }
	}
	near, err := dial(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	far, err = y.l.AcceptTCP()
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func newPass(t *testing.T, k *Keeper) *Pass {
	t.Helper()
	p, err := k.NewPass(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.End)
	return p
}

func TestAPassLetsInOverItsOwnConnectionsAlone(t *testing.T) {
	y, k := newYard(t), NewKeeper()
	p := newPass(t, k)
	users := usersOf(t, "alice", "s3cret")
	pool := x509.NewCertPool()
	pool.AddCert(&x509.Certificate{Raw: []byte("one")})
	own, server := y.pair(p)
	_, other := y.pair(nil)
	said := p.Credentials()
	at := func(conn *net.TCPConn, r *Rules) *Guest { return NewGuest(conn, k, func() *Rules { return r }) }
	claims := at(other, Guarded(users, nil).ForTest()) // a balancer says that it is where the pass is
	claims.Client, claims.Self = addrPort(server.RemoteAddr()), addrPort(server.LocalAddr())
	inMemory := at(server, Guarded(users, nil).ForTest())
	inMemory.Conn = posing{server, server.LocalAddr(), server.RemoteAddr()}
	elsewhere := NewKeeper()
	newPass(t, elsewhere)
	for _, tt := range []struct {
		title string
		g     *Guest
		c     Credentials
		code  fault.Code
	}{
		{"users, of whom its certificate is no password", shows(at(server, Guarded(users, nil).ForTest()), p), Credentials{}, fault.AuthRequired},
		{"users", at(server, Guarded(users, nil).ForTest()), said, ""},
		{"users and certificates", at(server, Guarded(users, nil).With(pool).ForTest()), said, ""},
		{"certificates", shows(at(server, Certified(pool).ForTest()), p), Credentials{}, ""},
		{"certificates, of which it has shown none", at(server, Certified(pool).ForTest()), said, fault.AuthRequired},
		{"certificates, of which it has shown another", shows(at(server, Certified(pool).ForTest()), newPass(t, NewKeeper())), said, fault.AuthRequired},
		{"another connection", at(other, Guarded(users, nil).ForTest()), said, fault.AuthRequired},
		{"another connection that claims to be its own", claims, said, fault.AuthRequired},
		{"another connection, certificates", shows(at(other, Certified(pool).ForTest()), p), said, fault.AuthRequired},
		{"one in memory that is called like its own", inMemory, said, fault.AuthRequired},
		{"nothing is said", at(server, Guarded(users, nil).ForTest()), Credentials{}, fault.AuthRequired},
		{"another password", at(server, Guarded(users, nil).ForTest()), Credentials{said.Username, said.Username}, fault.AuthRequired},
		{"the two as one", at(server, Guarded(users, nil).ForTest()), Credentials{said.Username + said.Password, ""}, fault.AuthRequired},
		{"a door that is not for it", at(server, Guarded(users, nil)), said, fault.AuthRequired},
		{"a door that is no more", at(server, Closed()), said, fault.NotReady},
		{"a door that lets nobody in", at(server, (&Rules{}).ForTest()), said, fault.Internal},
		{"a door that hears TLS alone", at(server, Guarded(users, nil).OverTLS().ForTest()), said, fault.BadRequest},
		{"another program's door", NewGuest(server, elsewhere, func() *Rules { return Guarded(users, nil).ForTest() }), said, fault.AuthRequired},
		{"a user beside it", at(server, Guarded(users, nil).ForTest()), Credentials{"alice", "wrong"}, fault.AuthRequired},
	} {
		id, err := tt.g.Admit(t.Context(), tt.c)
		if codeOf(err) != tt.code || id != (client.Identity{}) {
			t.Errorf("%s: %+v, %v", tt.title, id, err)
		}
		if err != nil && (strings.Contains(err.Error(), said.Username) || strings.Contains(err.Error(), said.Password)) {
			t.Errorf("%s: the error tells too much: %v", tt.title, err)
		}
	}
	if id, err := at(server, Guarded(users, nil).ForTest()).Admit(t.Context(), Credentials{"alice", "s3cret"}); err != nil || id.User != "alice" {
		t.Errorf("a user over its connection: %+v, %v", id, err)
	}
	own.Close()
	if _, err := at(server, Guarded(users, nil).ForTest()).Admit(t.Context(), said); codeOf(err) != fault.AuthRequired {
		t.Errorf("its two ends may be another's since it gave them up: %v", err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", p, p, p, p); strings.Contains(shown, said.Password) || strings.Contains(shown, said.Username) {
		t.Errorf("it prints %s", shown)
	}
}

// shows lets a guest have shown the certificate of a pass.
func shows(g *Guest, p *Pass) *Guest {
	g.Shown = p.Certificate().Leaf
	return g
}

// posing is no socket, and says that its ends are those of one.
type posing struct {
	Conn
	local, remote net.Addr
}

func (p posing) LocalAddr() net.Addr  { return p.local }
func (p posing) RemoteAddr() net.Addr { return p.remote }

func TestAPassEndsWithAllThatItMade(t *testing.T) {
	users := usersOf(t, "alice", "s3cret")
	for title, end := range map[string]func(k *Keeper, p *Pass){
		"ended":         func(_ *Keeper, p *Pass) { p.End(); p.End() },
		"by the keeper": func(k *Keeper, _ *Pass) { k.EndPass(); k.EndPass() },
		"replaced":      func(k *Keeper, _ *Pass) { newPass(t, k) },
		"its time":      func(k *Keeper, p *Pass) { k.now = func() time.Time { return time.Now().Add(time.Hour) } },
	} {
		y, k := newYard(t), NewKeeper()
		p := newPass(t, k)
		near, server := y.pair(p)
		g := NewGuest(server, k, func() *Rules { return Guarded(users, nil).ForTest() })
		if _, err := g.Admit(t.Context(), p.Credentials()); err != nil {
			t.Fatal(title, err)
		}
		end(k, p)
		if _, err := g.Admit(t.Context(), p.Credentials()); codeOf(err) != fault.AuthRequired {
			t.Errorf("%s: it is still let in: %v", title, err)
		}
		if _, err := p.Dial(t.Context(), y.dial); !errors.Is(err, ErrPassEnded) {
			t.Errorf("%s: it connects again: %v", title, err)
		}
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: its connection is left: %v", title, err)
		}
		near.Close()
	}
}

func TestAPassThatEndsWhileItConnectsMakesNothing(t *testing.T) {
	y, k := newYard(t), NewKeeper()
	p := newPass(t, k)
	if _, err := p.Dial(t.Context(), func(ctx context.Context) (net.Conn, error) {
		p.End()
		return y.dial(ctx)
	}); !errors.Is(err, ErrPassEnded) {
		t.Errorf("%v", err)
	}
	server, err := y.l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection is left: %v", err)
	}
}

func TestWhatAPassHasAtOneTimeIsBounded(t *testing.T) {
	p := newPass(t, NewKeeper())
	made := 0
	dial := func(context.Context) (net.Conn, error) {
		made++
		near, far := net.Pipe()
		t.Cleanup(func() { far.Close() })
		return &placed{near, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(made))}, nil
	}
	for range maxPassConns {
		if _, err := p.Dial(t.Context(), dial); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Dial(t.Context(), dial); err == nil {
		t.Error("it has more")
	}
}

// placed is a connection in memory with a place.
type placed struct {
	net.Conn
	at netip.AddrPort
}

func (c *placed) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.at) }

func (c *placed) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:1"))
}

// shake makes a handshake of TLS over a connection, and gives what the server makes of it.
func shake(t *testing.T, y yard, p *Pass, server *tls.Config, shown *tls.Certificate) (tls.ConnectionState, error) {
	t.Helper()
	near, far := y.pair(p)
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if shown != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		inside := tls.Client(near, c)
		_ = inside.Handshake()
		_, _ = inside.Read(make([]byte, 1)) // with TLS 1.3 the server judges later
	}()
	conn := tls.Server(far, server)
	err := conn.Handshake()
	far.Close()
	<-done
	return conn.ConnectionState(), err
}

func TestTheCertificateOfAPassIsTakenOverItsOwnConnectionsAlone(t *testing.T) {
	y, k := newYard(t), NewKeeper()
	p := newPass(t, k)
	other := newPass(t, NewKeeper()).Certificate() // of whom the door's own authorities know
	clients := x509.NewCertPool()
	clients.AddCert(other.Leaf)
	server := k.WithPass(ServerTLS(&other, clients))
	own := p.Certificate()
	for _, tt := range []struct {
		title string
		by    *Pass
		shown *tls.Certificate
		want  bool
	}{
		{"its own, by its own", p, &own, true},
		{"its own, by a stranger", nil, &own, false},
		{"another, by its own", p, &other, false},
		{"none, by its own", p, nil, false},
		{"a user's, by a user", nil, &other, true},
		{"none, by a stranger", nil, nil, false},
	} {
		state, err := shake(t, y, tt.by, server, tt.shown)
		if (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.title, err)
		}
		if tt.by != nil && err == nil && Vouches(clients, &state) {
			t.Errorf("%s: the door's authorities vouch for it", tt.title)
		}
	}
	p.End()
	if _, err := shake(t, y, nil, server, &own); err == nil {
		t.Error("it is taken after its end")
	}
	open := ServerTLS(&other, nil)
	if k.WithPass(open); open.GetConfigForClient != nil {
		t.Error("a door that asks for no certificate is another with it")
	}
}
