package gate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"time"

	"watertight/client"
)

// maxPassConns bounds the connections that one pass has at one time.
const maxPassConns = 1024

// Pass is what this very program comes in by while it tests itself, where a door asks for proof: a user, a password and a
// certificate of chance, which are nowhere but in memory.
//
// It lets nobody in but over a connection that the pass itself made ([Pass.Dial]), and nobody else can have the two ends of
// that; a connection of another who knew the password, or had the certificate, is a stranger's. Whoever comes by it is a
// client without a name, or by [Pass.As] one with a user's routes who is not that user, and only where [Rules.ForTest] says so. When it
// ends, by [Pass.End], after its time, or where another takes its place, its connections are closed, and it opens nothing more.
type Pass struct {
	keeper      *Keeper
	credentials Credentials
	proof       digest // of the credentials
	certificate tls.Certificate
	clients     *x509.CertPool // with that certificate alone
	until       time.Time
	trial       string // of the identities by which it comes as users

	mu    sync.Mutex
	ended bool
	conns map[ends]net.Conn
	as    []wish
}

// wish is what a pass says where it comes with a user's routes.
type wish struct {
	user  string
	said  Credentials
	proof digest // of said
}

// maxWishes bounds the users as whom one pass comes.
const maxWishes = 64

// ends are those of a connection, as its server sees them.
type ends struct {
	packets  bool // it is one of QUIC
	from, to netip.AddrPort
}

// ErrPassEnded is why a pass connects to nothing any more.
var ErrPassEnded = errors.New("what the test shows of who comes is not good any more: the configuration has changed, or its time is over")

// NewPass makes the keeper's pass, and ends the one before. It is good for lasts at most.
func (k *Keeper) NewPass(lasts time.Duration) (*Pass, error) {
	p := &Pass{keeper: k, until: k.now().Add(lasts), trial: chance(), conns: map[ends]net.Conn{}, clients: x509.NewCertPool()}
	p.credentials = Credentials{Username: chance(), Password: chance()}
	p.proof = k.digest(p.credentials.Username, p.credentials.Password)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// The name is that of no user: a certificate without one is refused before anybody looks whose it is.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: chance()}, NotBefore: k.now().Add(-time.Hour), NotAfter: p.until.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	p.certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	p.clients.AddCert(leaf)
	if before := k.pass.Swap(p); before != nil {
		before.End()
	}
	return p, nil
}

// chance is 128 bits of it, as a user may be called.
func chance() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// HasPass says that there is a pass which has not ended.
func (k *Keeper) HasPass() bool { return k.pass.Load() != nil }

// EndPass ends the pass that there is.
func (k *Keeper) EndPass() {
	if p := k.pass.Load(); p != nil {
		p.End()
	}
}

// End ends the pass, and every connection that it made. It may be called more than once.
func (p *Pass) End() {
	p.keeper.pass.CompareAndSwap(p, nil)
	p.mu.Lock()
	p.ended = true
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// Credentials are what it says to a door that asks for user and password ([Rules.AsksPassword]).
func (p *Pass) Credentials() Credentials { return p.credentials }

// As gives what the pass says to a door to come with the routes of a user, where names are proved and where they are not. It needs
// nothing of the user's, and has nothing of his: its identity is of this run alone ([client.Identity.Trial]), so that it shares no
// cache and no connection with the user, and counts against none of his limits.
func (p *Pass) As(user string) (Credentials, error) {
	if err := CheckUser(user); err != nil {
		return Credentials{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.as {
		if w.user == user {
			return w.said, nil
		}
	}
	switch {
	case p.ended:
		return Credentials{}, ErrPassEnded
	case len(p.as) >= maxWishes:
		return Credentials{}, fmt.Errorf("the test comes with the routes of %d users, and at most of that many", maxWishes)
	}
	w := wish{user: user, said: Credentials{Username: chance(), Password: chance()}}
	w.proof = p.keeper.digest(w.said.Username, w.said.Password)
	p.as = append(p.as, w)
	return w.said, nil
}

// wished gives the identity for which a password was given out; ok is false where it was for none.
func (p *Pass) wished(said digest) (id client.Identity, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.as {
		if hmac.Equal(said[:], w.proof[:]) {
			id, ok = client.Identity{User: w.user, Trial: p.trial}, true
		}
	}
	return id, ok
}

// Certificate is what it shows where one is asked for.
func (p *Pass) Certificate() tls.Certificate { return p.certificate }

// Format hides all of it, whatever the verb.
func (p *Pass) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(a pass)") }

// Dial makes a connection by which the pass is good, for as long as it is open. dial makes it, and nothing may be sent over it before.
func (p *Pass) Dial(ctx context.Context, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	if p.over() {
		return nil, ErrPassEnded
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	at := endsOf(conn.LocalAddr(), conn.RemoteAddr())
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended:
		err = ErrPassEnded
	case len(p.conns) >= maxPassConns:
		err = fmt.Errorf("the test has %d connections, and at most that many", maxPassConns)
	case !at.from.IsValid() || !at.to.IsValid():
		err = errors.New("it is not known where the connection begins and ends")
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	p.conns[at] = conn
	return &passing{Conn: conn, leave: func() { p.leave(at, conn) }}, nil
}

// passing is a connection that a pass made.
type passing struct {
	net.Conn
	leave func()
}

// Close gives the two ends up before anybody else can have them.
func (c *passing) Close() error {
	c.leave()
	return c.Conn.Close()
}

func (p *Pass) leave(at ends, conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns[at] == conn {
		delete(p.conns, at)
	}
}

// over says that its time is over, and ends it then.
func (p *Pass) over() bool {
	if p.keeper.now().Before(p.until) {
		return false
	}
	p.End()
	return true
}

// made says whether the pass made a connection.
func (p *Pass) made(at ends) bool {
	if p.over() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.conns[at]; ok {
		return true
	}
	if !at.packets || !at.to.Addr().IsUnspecified() {
		return false
	}
	for c := range p.conns { // a socket of datagrams that hears on every address does not know by which of them it was reached
		if c.packets && c.from == at.from && c.to.Port() == at.to.Port() {
			return true
		}
	}
	return false
}

// endsOf gives the ends of a connection of TCP or UDP.
func endsOf(from, to net.Addr) ends {
	_, packets := from.(*net.UDPAddr)
	return ends{packets, socketAddr(from), socketAddr(to)}
}

func socketAddr(a net.Addr) netip.AddrPort {
	if u, ok := a.(*net.UDPAddr); ok {
		ap := u.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return addrPort(a)
}

// passes says that a guest comes by the pass, and as whom: over a connection that it made, and with one of its passwords; or with its
// certificate, where that is all that is asked for. Where nothing is asked for, who says nothing of the pass is a client like others.
func (k *Keeper) passes(g *Guest, r *Rules, c Credentials) (client.Identity, bool) {
	if k == nil {
		return client.Identity{}, false
	}
	p := k.pass.Load()
	if p == nil {
		return client.Identity{}, false
	}
	at, ok := g.ends()
	if !ok || !p.made(at) {
		return client.Identity{}, false
	}
	said := k.digest(c.Username, c.Password)
	id, wished := p.wished(said)
	switch {
	case r.AsksPassword():
		return id, wished || hmac.Equal(said[:], p.proof[:])
	case r.Unproven():
		return id, wished
	}
	return id, g.Shown != nil && g.Shown.Equal(p.certificate.Leaf)
}

// ends gives those of the guest's own socket, whatever a balancer says of it. It gives false where it comes by none: in memory, one can
// be called as anybody likes.
func (g *Guest) ends() (at ends, ok bool) {
	var conn net.Conn = g.Conn
	switch c := g.Conn.(type) {
	case nil:
		return ends{true, g.Client, g.Self}, true // of QUIC, which no balancer speaks for
	case *Secure:
		conn = c.Socket
	case *tls.Conn:
		conn = c.NetConn()
	}
	socket, ok := conn.(*net.TCPConn)
	if !ok {
		return at, false
	}
	return endsOf(socket.RemoteAddr(), socket.LocalAddr()), true
}

// WithPass makes a configuration of TLS that asks clients for certificates ask one alone over a connection that a pass made: that
// of the pass. It is for doors of which [Rules.ForTest] holds, and for those that ask for nothing else; c is changed.
func (k *Keeper) WithPass(c *tls.Config) *tls.Config {
	if c == nil || c.ClientAuth == tls.NoClientCert {
		return c
	}
	otherwise := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if otherwise != nil {
			if chosen, err := otherwise(hello); chosen != nil || err != nil {
				return chosen, err
			}
		}
		p := k.pass.Load()
		if p == nil || hello.Conn == nil || !p.made(endsOf(hello.Conn.RemoteAddr(), hello.Conn.LocalAddr())) {
			return nil, nil //nolint:nilnil // nil stands for the configuration itself
		}
		own := c.Clone()
		own.GetConfigForClient, own.VerifyConnection, own.SessionTicketsDisabled = nil, nil, true
		own.ClientAuth, own.ClientCAs = tls.RequireAndVerifyClientCert, p.clients
		return own, nil
	}
	return c
}
