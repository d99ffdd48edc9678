// Package servers starts real third-party servers, as Debian packages them, on hosts of the lab's internet: resolvers
// for DNS over TLS and HTTPS, an authority, an origin, and proxies to be hops.
//
// It promises that a server which is not installed is said so, by a skip or, where everything is required, a failure;
// that a server which it gives back is listening; and that the server ends with the test. All run without root: in
// the lab's user namespace the only user is 0, which is the user of the test.
package servers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// Usual ports.
const (
	PortDNS   = 53
	PortHTTP  = 80
	PortHTTPS = 443
	PortDoT   = 853
	PortSOCKS = 1080
	PortProxy = 3128
)

// server is what a file of this package says about one server.
type server struct {
	binary string
	dir    string
	args   []string
	port   uint16 // listened on when it is ready

	env      []string // besides what every program gets
	loopback bool     // it listens on 127.0.0.1 and nowhere else
}

// start starts the server on a host and waits until it listens.
func (s server) start(t testing.TB, h *internet.Host) *internet.Process {
	t.Helper()
	lab.Need(t, s.binary)
	program := h.Program(s.binary, s.args...)
	program.Env = append(append(program.Env, "HOME="+s.dir, "TMPDIR="+s.dir), s.env...)
	p := lab.Must(program.Start(t.Context()))(t)
	at := h.At(s.port)
	if s.loopback {
		at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.port)
	}
	if err := p.AwaitTCP(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", s.binary, p.Sofar().Text())
		}
	})
	return p
}

// certFiles is a directory of a server that has a certificate.
type certFiles struct{ dir, cert, key string }

// certified makes the directory, with the certificate and its chain in one file and the key in another.
func certified(t testing.TB, c tls.Certificate) certFiles {
	t.Helper()
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: lab.Must(x509.MarshalPKCS8PrivateKey(c.PrivateKey))(t)})
	d := t.TempDir()
	return certFiles{d, write(t, d, "cert.pem", string(chain)), write(t, d, "key.pem", string(key))}
}

// wildcards gives the addresses on which a server of this host listens to reach all of them.
func wildcards(h *internet.Host) []netip.Addr {
	var all []netip.Addr
	if h.Addr4.IsValid() {
		all = append(all, netip.IPv4Unspecified())
	}
	if h.Addr6.IsValid() {
		all = append(all, netip.IPv6Unspecified())
	}
	return all
}

// Login is what a hop asks its clients for. The zero Login is none.
type Login struct{ User, Password string }

// write writes one more file of a server, and gives its path.
func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
