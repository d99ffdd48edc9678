// Package dnsrig is an in-memory internet with encrypted resolvers on it, one of each kind that a test asks for: what
// the tests of packages transport and resolve stand on.
//
// It promises that its addresses and its authority exist in the test alone, and that a kind is tested as soon as it
// stands in Kinds. It opens no socket but those of OnLoopback and Sockets.
package dnsrig

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/transport"
	"watertight/upstream"
	"watertight/wire"
)

// ServerName is the name of every resolver of a rig.
const ServerName = "dns.provider.example"

// Addresses for resolvers. The ordinary certificate covers the first.
var (
	First  = netip.MustParseAddr("198.18.0.1")
	Second = netip.MustParseAddr("198.18.0.2")
	Third  = netip.MustParseAddr("198.18.0.3")
)

// Kinds are the kinds of upstream that [EachKind] goes through.
var Kinds = append([]upstream.Kind{upstream.DNSCrypt}, OverTLS...)

// OverTLS are those of them whose questions share an authenticated connection of TLS or QUIC.
var OverTLS = []upstream.Kind{upstream.DoT, upstream.DoH, upstream.DoH3, upstream.DoQ, upstream.ODoH}

// Streams are those of OverTLS that travel in connections of TCP.
var Streams = []upstream.Kind{upstream.DoT, upstream.DoH, upstream.ODoH}

// Zone is what a resolver of a rig usually knows.
var Zone = dnstest.Zone{
	"api.shop.example. 300 A 192.0.2.1",
	"api.shop.example. 60 AAAA 2001:db8::1",
	"four.shop.example. 300 A 192.0.2.4",
	"www.shop.example. 30 CNAME api.shop.example.",
	"once.shop.example. 0 A 192.0.2.9",
	"ever.shop.example. 2147483647 A 192.0.2.8",
	"text.shop.example. 300 TXT hello",
	"one.shop.example. 300 A 192.0.2.11",
	"two.shop.example. 300 A 192.0.2.12",
	". 3600 NS a.root.example.",
}

// Tweak changes how a resolver speaks TLS.
type Tweak = func(*tls.Config)

// With makes a resolver show another certificate.
func With(cert tls.Certificate) Tweak {
	return func(c *tls.Config) { c.Certificates = []tls.Certificate{cert} }
}

// service is how a kind is served: on a listener, or on a socket for datagrams.
type service struct {
	port    uint16
	stream  func(net.Listener, tls.Certificate, dnstest.Handler, ...Tweak) *dnstest.Server
	packets func(net.PacketConn, tls.Certificate, dnstest.Handler, ...Tweak) *dnstest.Server
}

var services = map[upstream.Kind]service{
	upstream.DoH:  {port: 443, stream: dnstest.ServeDoH},
	upstream.DoH3: {port: 443, packets: dnstest.ServeDoH3},
	upstream.DoT:  {port: 853, stream: dnstest.ServeDoT},
	upstream.DoQ:  {port: 853, packets: dnstest.ServeDoQ},

	upstream.DNSCrypt: {port: 443}, // on both: serveCrypt
	upstream.ODoH:     {port: 443}, // of the relay, which needs a target: Serve
}

// Port is the usual port of a kind.
func Port(k upstream.Kind) uint16 { return services[k].port }

// OnLoopback starts a resolver of a kind on a socket of 127.0.0.1 until the test ends, and gives an upstream for it.
func OnLoopback(t testing.TB, k upstream.Kind, h dnstest.Handler) (*dnstest.Server, upstream.Upstream) {
	t.Helper()
	at := netip.MustParseAddrPort("127.0.0.1:0")
	if k == upstream.DNSCrypt {
		return cryptOnLoopback(t, at, h)
	}
	ca := dnstest.NewCA()
	cert := ca.Issue(nil, []netip.Addr{at.Addr()})
	var s *dnstest.Server
	if serve := services[k].packets; serve != nil {
		socket, err := wire.ListenUDP(at)
		if err != nil {
			t.Fatal(err)
		}
		s = serve(socket, cert, h)
	} else {
		l, err := wire.ListenTCP(at)
		if err != nil {
			t.Fatal(err)
		}
		if k == upstream.ODoH {
			return odohOnLoopback(t, l, ca, h)
		}
		s = services[k].stream(l, cert, h)
	}
	t.Cleanup(func() { s.Close() })
	return s, Build(t, upstream.Spec{URL: string(k) + "://" + s.Addr().String(), CA: CAFile(t, ca)})
}

// Sockets is a way out over the sockets of this host.
func Sockets() transport.Way {
	return transport.Way{
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			conn, err := wire.DialTCP(ctx, to)
			if err != nil { // a nil *net.TCPConn would be a net.Conn
				return nil, err
			}
			return conn, nil
		},
		DialPacket: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			conn, err := wire.DialUDP(to)
			if err != nil {
				return nil, err
			}
			return conn, nil
		},
	}
}

// Rig is the internet of one test.
type Rig struct {
	Net dnstest.Net
	CA  *dnstest.CA
	// Provider signs for the resolvers of DNSCrypt.
	Provider *dnstest.Provider
	// Target is behind the relays of ODoH.
	Target *dnstest.ODoHTarget
	// Fail, where set, is what Dial gives instead of dialling.
	Fail error

	t testing.TB
}

// New makes a rig with nothing on it.
func New(t testing.TB) *Rig {
	return &Rig{CA: dnstest.NewCA(), Provider: dnstest.NewProvider(), Target: dnstest.NewODoHTarget(TargetName, TargetPath), t: t}
}

// Dial is a dial function over the rig's network.
func (g *Rig) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if g.Fail != nil {
		return nil, g.Fail
	}
	return g.Net.DialAddr(ctx, to)
}

// DialPacket is Dial for datagrams.
func (g *Rig) DialPacket(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if g.Fail != nil {
		return nil, g.Fail
	}
	return g.Net.DialPacketAddr(ctx, to)
}

// Way is a way out over the rig's network.
func (g *Rig) Way() transport.Way { return transport.Way{Dial: g.Dial, DialPacket: g.DialPacket} }

// Serve starts a resolver at an address until the test ends, with the rig's ordinary certificate or with that in tweak.
func (g *Rig) Serve(k upstream.Kind, at netip.Addr, h dnstest.Handler, tweak ...Tweak) *dnstest.Server {
	bound := netip.AddrPortFrom(at, Port(k))
	if k == upstream.DNSCrypt {
		if len(tweak) > 0 {
			g.t.Fatal("DNSCrypt has no TLS that could be changed")
		}
		s := dnstest.ServeDNSCrypt(g.Net.Listen(bound), g.Net.ListenPacket(bound), g.Provider, h)
		g.t.Cleanup(func() { s.Close() })
		return s
	}
	cert := g.CA.Issue([]string{ServerName}, []netip.Addr{First})
	var s *dnstest.Server
	if k == upstream.ODoH {
		s = dnstest.ServeODoH(g.Net.Listen(bound), cert, g.Target, h, tweak...)
	} else if serve := services[k].packets; serve != nil {
		s = serve(g.Net.ListenPacket(bound), cert, h, tweak...)
	} else {
		s = services[k].stream(g.Net.Listen(bound), cert, h, tweak...)
	}
	g.t.Cleanup(func() { s.Close() })
	return s
}

// Mute makes an address take everything and say nothing, until the test ends.
func (g *Rig) Mute(k upstream.Kind, at netip.Addr) {
	bound := netip.AddrPortFrom(at, Port(k))
	if k.Packets() || k == upstream.DNSCrypt {
		socket := g.Net.ListenPacket(bound)
		g.t.Cleanup(func() { socket.Close() })
	}
	if k.Packets() {
		return
	}
	l := g.Net.Listen(bound)
	g.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
}

// Spec describes an upstream of the rig.
func (g *Rig) Spec(k upstream.Kind, at ...netip.Addr) upstream.Spec {
	if k == upstream.DNSCrypt { // its stamp has one address
		return upstream.Spec{URL: CryptStamp(g.t, g.Provider, netip.AddrPortFrom(at[0], Port(k)))}
	}
	s := upstream.Spec{URL: string(k) + "://" + ServerName, CA: CAFile(g.t, g.CA)}
	if k == upstream.ODoH { // what is dialled, and has the certificate, is the relay
		s.URL, s.Relay = TargetStamp(g.t, g.Target), RelayStamp(g.t, name.Must(ServerName+":443"))
	}
	for _, a := range at {
		s.Addresses = append(s.Addresses, a.String())
	}
	return s
}

// Upstream makes an upstream of the rig.
func (g *Rig) Upstream(k upstream.Kind, at ...netip.Addr) upstream.Upstream {
	g.t.Helper()
	return Build(g.t, g.Spec(k, at...))
}

// CAFile writes an authority to a file of the test's.
func CAFile(t testing.TB, ca *dnstest.CA) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Build makes an upstream that has to be good.
func Build(t testing.TB, s upstream.Spec) upstream.Upstream {
	t.Helper()
	u, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// EachKind runs f in a bubble of its own for every kind of upstream.
func EachKind(t *testing.T, f func(t *testing.T, k upstream.Kind)) { EachOf(t, Kinds, f) }

// EachOf is EachKind for some kinds.
func EachOf(t *testing.T, kinds []upstream.Kind, f func(t *testing.T, k upstream.Kind)) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, k) })
		})
	}
}

// WantFault wants a fault with a code, part of its message, and the form of a status line.
func WantFault(t *testing.T, err error, code fault.Code, part string) *fault.Error {
	t.Helper()
	f, ok := err.(*fault.Error)
	if !ok {
		t.Fatalf("error %v, want a fault %s", err, code)
	}
	if f.Code != code || !strings.Contains(f.Message, part) {
		t.Errorf("fault %s %q (%v), want %s with %q", f.Code, f.Message, f.Err, code, part)
	}
	if strings.ContainsAny(f.Message, "\n\r") || len(f.Message) > 200 {
		t.Errorf("message %q does not fit on a status line", f.Message)
	}
	return f
}
