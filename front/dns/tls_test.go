package dns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

const serverName = "door.example"

// identity is a certificate of a test's own, and who trusts it.
type identity struct {
	cert tls.Certificate
	pool *x509.CertPool
}

func newIdentity(t testing.TB) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool}
}

// server gives what Options.TLS is to give.
func (i identity) server() func() *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{i.cert}}
	return func() *tls.Config { return c }
}

func (i identity) client(alpn ...string) *tls.Config {
	return &tls.Config{RootCAs: i.pool, ServerName: serverName, NextProtos: alpn}
}

// dot serves DNS over TLS and gives its address.
func dot(t testing.TB, d *Door, source Credentials) (l net.Listener, stop func()) {
	t.Helper()
	tcp := listenTCP(t)
	return tcp, run(t, func(ctx ctx) error { return d.ServeTLS(ctx, tcp, source) })
}

func TestQueriesAreAnsweredOverTLS(t *testing.T) {
	id := newIdentity(t)
	d := newDoor(t, Options{})
	l, stop := dot(t, d, id.server())
	for _, alpn := range [][]string{{"dot"}, nil} {
		c := tls.Client(dialTCP(t, l), id.client(alpn...))
		send(t, c, framed(query(t, "www.example.", miekg.TypeA, edns(1232, &miekg.EDNS0_PADDING{})), query(t, "missing.example.", miekg.TypeA, nil)))
		var got []int
		for range 2 {
			b, err := readFrame(c)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, len(b))
		}
		if slices.Sort(got); got[1] != 468 || got[0] >= 468 {
			t.Errorf("the replies have %v octets: one was to be padded", got)
		}
		if s := c.ConnectionState(); s.Version != tls.VersionTLS13 || len(alpn) > 0 && s.NegotiatedProtocol != "dot" {
			t.Errorf("%+v", s)
		}
		c.Close()
	}
	stop()
	if s := d.Stats(); s.Queries["tls"] != 4 || s.Connections != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAFailedHandshakeIsFollowedByNothingInClear(t *testing.T) {
	id := newIdentity(t)
	d := newDoor(t, Options{})
	l, _ := dot(t, d, id.server())
	clear := dialTCP(t, l)
	send(t, clear, framed(query(t, "www.example.", miekg.TypeA, nil)))
	if b, _ := io.ReadAll(clear); len(b) > 0 && b[0] != 21 { // an alert
		t.Errorf("the door says %q to one who speaks no TLS", b)
	}
	for name, config := range map[string]*tls.Config{
		"another protocol": id.client("h2"),
		"an old version":   {RootCAs: id.pool, ServerName: serverName, MaxVersion: tls.VersionTLS12},
	} {
		if err := tls.Client(dialTCP(t, l), config).Handshake(); err == nil {
			t.Errorf("%s: the handshake succeeds", name)
		}
	}
	waitFor(t, func() bool { return d.Stats().CutOff == 3 })
	if d.Stats().Queries["tls"] != 0 {
		t.Errorf("%+v", d.Stats())
	}
}

func TestAHandshakeThatDoesNotEndIsCutOff(t *testing.T) {
	id := newIdentity(t)
	d := newDoor(t, Options{Stall: 10 * time.Millisecond})
	l, _ := dot(t, d, id.server())
	if _, err := dialTCP(t, l).Read(make([]byte, 1)); err == nil {
		t.Error("a silent client hears something")
	}
	waitFor(t, func() bool { return d.Stats().CutOff == 1 })
}

func TestCertificatesAreThoseOfTheMomentAndSessionsLastAsLong(t *testing.T) {
	old, fresh := newIdentity(t), newIdentity(t)
	var now atomic.Pointer[tls.Config]
	now.Store(old.server()())
	d := newDoor(t, Options{})
	l, _ := dot(t, d, now.Load)
	visit := func(config *tls.Config) (tls.ConnectionState, error) {
		c := tls.Client(dialTCP(t, l), config)
		if err := c.Handshake(); err != nil {
			return tls.ConnectionState{}, err
		}
		send(t, c, framed(query(t, "www.example.", miekg.TypeA, nil)))
		readFramed(t, c) // and the session ticket before it
		return c.ConnectionState(), nil
	}
	config := old.client("dot")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		if s, err := visit(config); err != nil || s.DidResume != (i == 1) {
			t.Errorf("visit %d: resumed: %v, %v", i, s.DidResume, err)
		}
	}
	now.Store(fresh.server()())
	if s, err := visit(fresh.client("dot")); err != nil || s.PeerCertificates[0].Equal(old.cert.Leaf) {
		t.Errorf("after the change: %v", err)
	}
}

func TestWithoutCertificatesNothingEncryptedIsServed(t *testing.T) {
	d := newDoor(t, Options{})
	l := listenTCP(t)
	if err := d.ServeTLS(t.Context(), l, nil); err == nil {
		t.Error("served without a TLS configuration")
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener stays open")
	}
}

func TestAStrangerGetsNoHandshake(t *testing.T) {
	id := newIdentity(t)
	d := newDoor(t, Options{Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	l, _ := dot(t, d, id.server())
	if err := tls.Client(dialTCP(t, l), id.client("dot")).Handshake(); err == nil || d.Stats().Strangers != 1 {
		t.Errorf("%v: %+v", err, d.Stats())
	}
}
