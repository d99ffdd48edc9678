package mixed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"watertight/gate"
)

// issuer certifies servers and clients.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t, cert, key, x509.NewCertPool()}
	i.pool.AddCert(cert)
	return i
}

func (i *issuer) issue(common string, names ...string) *tls.Certificate {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: common}, DNSNames: names, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// names answers with the word, the user of the client's certificate and the octets read ahead.
type names string

func (n names) ServeConn(_ context.Context, g *gate.Guest, head []byte) {
	defer g.Conn.Close()
	io.WriteString(g.Conn, string(n)+":"+g.Certified+":"+string(head))
}

func serveSecure(t *testing.T, config *tls.Config) *port {
	t.Helper()
	return serveWay(t, Options{Handlers: Handlers{HTTP: names("http"), SOCKS4: names("socks4"), SOCKS5: names("socks5"), HTTP2: names("h2")}}, &Way{Rules: gate.Open(), TLS: config})
}

func (p *port) sayInside(t *testing.T, config *tls.Config, s string) (string, error) {
	t.Helper()
	c := tls.Client(p.dial(t), config)
	if err := c.Handshake(); err != nil {
		return "", err
	}
	io.WriteString(c, s)
	b, err := io.ReadAll(c)
	return string(b), err
}

func TestInsideTLSTheFirstOctetTellsTheProtocol(t *testing.T) {
	ca := newIssuer(t)
	p := serveSecure(t, gate.ServerTLS(ca.issue("", "proxy.example"), nil))
	config := &tls.Config{RootCAs: ca.pool, ServerName: "proxy.example"}
	for octets, want := range map[string]string{
		"CONNECT a:1": "http::CONNECT a:1", "\x05\x01\x00": "socks5::\x05\x01\x00", "\x04": "socks4::\x04", "\x00": "", "\x16\x03": "",
	} {
		got, err := p.sayInside(t, config, octets)
		if got != want || err != nil {
			t.Errorf("%q: %q, %v", octets, got, err)
		}
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	if got, err := p.sayInside(t, config, "PRI * HTTP/2.0"); got != "h2::" || err != nil {
		t.Errorf("HTTP/2: %q, %v", got, err)
	}
	until(t, "a connection is left", func() bool { return p.Stats().Open == 0 })
}

func TestAPortWithTLSServesNobodyInClear(t *testing.T) {
	ca := newIssuer(t)
	p := serveSecure(t, gate.ServerTLS(ca.issue("", "proxy.example"), nil))
	if got := p.say(t, "CONNECT a:1 HTTP/1.1\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 this port speaks TLS only (BAD_REQUEST)\r\n") {
		t.Errorf("%q", got)
	}
	if got := p.say(t, "\x05\x01\x00"); got != "\x05\xff" {
		t.Errorf("%q", got)
	}
	if got := p.say(t, "\x16no handshake at all"); strings.Contains(got, "http:") || strings.Contains(got, "HTTP/") {
		t.Errorf("%q", got)
	}
	if _, err := p.sayInside(t, &tls.Config{RootCAs: ca.pool, ServerName: "proxy.example", MaxVersion: tls.VersionTLS12}, "x"); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
}

func TestACertificateSaysWhoAClientIs_AndWithoutOneNobodyIsServed(t *testing.T) {
	ca, other := newIssuer(t), newIssuer(t)
	p := serveSecure(t, gate.ServerTLS(ca.issue("", "proxy.example"), ca.pool))
	for _, tt := range []struct {
		title string
		cert  *tls.Certificate
		want  string // empty: not served
	}{
		{"common name", ca.issue("alice", "host.example"), "http:alice:x"},
		{"DNS name", ca.issue("", "bob.example"), "http:bob.example:x"},
		{"none", nil, ""},
		{"another's", other.issue("alice"), ""},
		{"a name with a blank", ca.issue("Alice Smith"), ""},
		{"a name with labels", ca.issue("alice-session-1"), ""},
		{"two DNS names", ca.issue("", "a.example", "b.example"), ""},
	} {
		t.Run(tt.title, func(t *testing.T) {
			config := &tls.Config{RootCAs: ca.pool, ServerName: "proxy.example", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			if tt.cert != nil {
				config.Certificates = []tls.Certificate{*tt.cert}
			}
			for range 2 { // and where the session is resumed
				got, err := p.sayInside(t, config, "x")
				if got != tt.want || (err == nil) != (tt.want != "") {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
}

func TestAClientThatIsSilentInsideTLSIsEndedAtItsTime(t *testing.T) {
	ca := newIssuer(t)
	o := Options{FirstOctet: 50 * time.Millisecond, Handlers: Handlers{HTTP: names("http"), SOCKS4: names("4"), SOCKS5: names("5"), HTTP2: names("h2")}}
	p := serveWay(t, o, &Way{Rules: gate.Open(), TLS: gate.ServerTLS(ca.issue("", "proxy.example"), nil)})
	config := &tls.Config{RootCAs: ca.pool, ServerName: "proxy.example"}
	if got, _ := p.sayInside(t, config, ""); got != "" {
		t.Errorf("%q", got)
	}
	if got := p.say(t, "\x16"); got != "" {
		t.Errorf("%q", got)
	}
	until(t, "the connection still counts", func() bool { return p.Stats().Open == 0 })
}
