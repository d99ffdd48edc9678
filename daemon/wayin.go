package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/quic-go/quic-go"

	"watertight/gate"
	"watertight/leaktest"
	"watertight/wire"
)

// wayIn is how the test comes in by one listener of this process, as a client of this host does.
type wayIn struct {
	l *listener
	// clients are told of what is dialled.
	clients *testClients
	// secure is what the listener speaks; nil: clear text.
	secure *tls.Config
	// balancers are those who begin with a header of the PROXY protocol.
	balancers []netip.Prefix
	// pass is what it comes in by where the listener asks for proof; nil: it does not.
	pass *gate.Pass
}

// dial connects, and agrees on one of these protocols (RFC 7301) where it speaks TLS; on none where there are none.
func (w wayIn) dial(ctx context.Context, protocols ...string) (net.Conn, error) {
	conn, err := w.made(ctx, func(ctx context.Context) (net.Conn, error) { return wire.DialListener(ctx, w.l.socket) })
	if err != nil {
		return nil, err
	}
	fail := func(err error) (net.Conn, error) {
		_ = conn.Close()
		return nil, err
	}
	if header := w.header(conn); header != "" {
		if _, err := conn.Write([]byte(header)); err != nil {
			return fail(err)
		}
	}
	if w.secure == nil {
		return conn, nil
	}
	client, err := w.client(protocols)
	if err != nil {
		return fail(err)
	}
	inside := tls.Client(conn, client)
	if err := inside.HandshakeContext(ctx); err != nil {
		return fail(err)
	}
	return inside, nil
}

// made makes a connection, by the pass where there is one.
func (w wayIn) made(ctx context.Context, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	if w.pass == nil {
		return w.clients.dialled(dial(ctx))
	}
	return w.clients.dialled(w.pass.Dial(ctx, dial))
}

// header is that of the PROXY protocol, where this host is listed as a balancer: it is its own client.
func (w wayIn) header(conn net.Conn) string {
	from, ok := conn.LocalAddr().(*net.TCPAddr)
	to, ok2 := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return ""
	}
	client, self := plainAddr(from), plainAddr(to)
	if !slices.ContainsFunc(w.balancers, func(n netip.Prefix) bool { return n.Contains(client.Addr()) }) {
		return ""
	}
	family := "TCP6"
	if client.Addr().Is4() {
		family = "TCP4"
	}
	return fmt.Sprintf("PROXY %s %s %s %d %d\r\n", family, client.Addr(), self.Addr(), client.Port(), self.Port())
}

func plainAddr(a *net.TCPAddr) netip.AddrPort {
	at := a.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

// Limits of a connection of QUIC.
const (
	quicUni       = 3 // of HTTP/3: control, and QPACK's two (RFC 9114, section 6.2)
	quicHandshake = 10 * time.Second
	quicIdle      = 30 * time.Second
)

// quic connects over QUIC and agrees on a protocol. What the connection stands on ends with it.
func (w wayIn) quic(ctx context.Context, protocol string) (*quic.Conn, error) {
	flow, err := w.made(ctx, func(context.Context) (net.Conn, error) { return wire.DialPacketListener(w.l.packets) })
	if err != nil {
		return nil, err
	}
	client, err := w.client([]string{protocol})
	if err != nil {
		_ = flow.Close()
		return nil, err
	}
	peer := flow.RemoteAddr().(*net.UDPAddr)
	transport := &quic.Transport{Conn: wire.PacketConn(flow, peer)}
	end := func() {
		_ = transport.Close()
		_ = flow.Close() // the transport leaves it to us
	}
	conn, err := transport.Dial(ctx, peer, client, &quic.Config{
		HandshakeIdleTimeout: quicHandshake, MaxIdleTimeout: quicIdle, MaxIncomingStreams: -1, MaxIncomingUniStreams: quicUni, EnableDatagrams: true,
	})
	if err != nil {
		end()
		return nil, err
	}
	context.AfterFunc(conn.Context(), end)
	return conn, nil
}

// client is what a client speaks that trusts the certificate of the listener alone, as it shows it now: whoever signed that is of no
// account.
func (w wayIn) client(protocols []string) (*tls.Config, error) {
	c, err := trusting(w.secure)
	if err != nil {
		return nil, err
	}
	c.NextProtos = protocols
	if w.pass != nil && w.secure.ClientAuth != tls.NoClientCert {
		c.Certificates = []tls.Certificate{w.pass.Certificate()}
	}
	return c, nil
}

func trusting(of *tls.Config) (*tls.Config, error) {
	if of.GetCertificate == nil {
		return nil, errors.New("it has no certificate")
	}
	shown, err := of.GetCertificate(&tls.ClientHelloInfo{
		SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.Ed25519, tls.PSSWithSHA256},
		CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
	})
	if err != nil {
		return nil, fmt.Errorf("it has no certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(shown.Certificate[0])
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(leaf)
	switch {
	case len(leaf.DNSNames) > 0:
		c.ServerName = leaf.DNSNames[0]
		if rest, ok := strings.CutPrefix(c.ServerName, "*."); ok {
			c.ServerName = "watertight." + rest
		}
	case len(leaf.IPAddresses) > 0:
		c.ServerName = leaf.IPAddresses[0].String()
	default:
		return nil, errors.New("its certificate is for nobody")
	}
	return c, nil
}

// toRelay opens a socket for a relay of SOCKS5, at the address from which that is asked for.
func (w wayIn) toRelay(asking net.Conn) (leaktest.Relayed, error) {
	from, ok := asking.LocalAddr().(*net.TCPAddr)
	if !ok {
		return nil, errors.New("it is not known from where the relay is asked for")
	}
	socket, err := wire.ListenForRelay(from.AddrPort().Addr().Unmap())
	if err != nil {
		return nil, err
	}
	known, err := w.clients.dialled(socket, nil)
	if err != nil {
		return nil, err
	}
	return relayed{socket, w.l.address().Addr(), known}, nil
}

// relayed is a socket for a relay of SOCKS5, which is where its listener is, or on loopback.
type relayed struct {
	*wire.RelayClient
	listener netip.Addr
	known    net.Conn // the same socket, as the test's
}

// Close ends the socket.
func (r relayed) Close() error { return r.known.Close() }

// Lead says where the relay is.
func (r relayed) Lead(to netip.AddrPort) error {
	if !isRelayOf(r.listener, to.Addr()) {
		return fmt.Errorf("the relay says that it is at %s, which is not this host", to)
	}
	return r.RelayClient.Lead(to)
}

// isRelayOf says whether a relay may be at an address, for a listener at another.
func isRelayOf(listener, relay netip.Addr) bool {
	relay = relay.Unmap()
	return relay.IsLoopback() || relay.IsUnspecified() || relay == listener.Unmap()
}
