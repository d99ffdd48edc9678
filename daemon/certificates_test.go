package daemon

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"watertight/control"
	"watertight/lab/acmetest"
)

// certified is a program whose certificates come from an authority of the test.
type certified struct {
	*live
	authority *acmetest.Authority
	directory string
	state     string

	mu    sync.Mutex
	doors []netip.AddrPort // at which each validation by TLS is tried
}

// newAuthority serves an authority, whose directory is at the name of the tests.
func newAuthority(t *testing.T) *certified {
	t.Helper()
	c := &certified{authority: acmetest.New(), state: filepath.Join(t.TempDir(), "state")}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: c.authority, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		_ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{authority.CA.Issue([]string{hostName}, nil)}}))
	}()
	t.Cleanup(func() { server.Close() })
	c.directory = fmt.Sprintf("https://%s:%d/dir", hostName, l.Addr().(*net.TCPAddr).Port)
	c.authority.Validate = c.validate
	return c
}

// section is `acme` and `state` of the configuration.
func (c *certified) section(more string) string {
	return fmt.Sprintf("acme: {accept_terms: true, channel: direct, directory: %q, ca: %q%s}\nstate: %q\n", c.directory, caFile, more, c.state)
}

// validate asks every door for the answer, and sees to it that none serves anything on such a connection.
func (c *certified) validate(kind, name, token, answer string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.doors {
		if err := validateAt(at, kind, name, token, answer); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return nil
}

func validateAt(at netip.AddrPort, kind, name, token, answer string) error {
	if kind == "http-01" {
		r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s/.well-known/acme-challenge/%s", at, token), nil)
		if err != nil {
			return err
		}
		resp, err := exchanged(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != answer {
			return fmt.Errorf("%q, %v", got, err)
		}
		return nil
	}
	conn, err := tls.Dial("tcp", at.String(), &tls.Config{ServerName: name, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	cert := conn.ConnectionState().PeerCertificates[0]
	sum := sha256.Sum256([]byte(answer))
	want, _ := asn1.Marshal(sum[:])
	if !slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool {
		return e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) && slices.Equal(e.Value, want)
	}) {
		return errors.New("it shows no answer")
	}
	_ = conn.SetDeadline(time.Now().Add(limit))
	_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("something is served on it: %d, %v", n, err)
	}
	return nil
}

// awaitShown waits for a certificate of the authority at a socket.
func (c *certified) awaitShown(t *testing.T, at fmt.Stringer, name string) *x509.Certificate {
	t.Helper()
	for until := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		var shown *x509.Certificate
		conn, err := tls.Dial("tcp", at.String(), &tls.Config{
			ServerName: name, RootCAs: c.authority.Pool(),
			VerifyConnection: func(s tls.ConnectionState) error { shown = s.PeerCertificates[0]; return nil },
		})
		if err == nil {
			_ = conn.Close()
		}
		if shown != nil {
			return shown
		}
		if time.Now().After(until) {
			t.Fatalf("%v\n%s", err, c.log)
		}
	}
}

func TestACME_GetsCertificatesForEveryDoor_AndValidationsAreAnsweredAtEachAndServedByNone(t *testing.T) {
	c := newAuthority(t)
	proxy, dot, doh, doq, admin := freePort(t), freePort(t), freePort(t), freePort(t), freePort(t)
	c.doors = []netip.AddrPort{proxy, dot, doh, admin}
	const name = "proxy.example.net"
	own := fmt.Sprintf("tls: {acme: %s, client_ca: %q}", name, caFile) // on a validation no certificate of the client is asked for
	text := fmt.Sprintf("listen: {proxy: [\"127.0.0.1:0\", {address: %q, %s}], admin: [\"127.0.0.1:0\", {address: %q, %s}],\n", proxy, own, admin, own) +
		fmt.Sprintf("  dns: [{address: \"tls://%s\", %s}, {address: \"https://%s\", %s}, {address: \"quic://%s\", %s}]}\n", dot, own, doh, own, doq, own) + c.section("")
	c.live = newLive(t, text).start().awaitReady()
	first := c.awaitShown(t, proxy, name)
	for _, at := range []netip.AddrPort{dot, doh, admin} {
		if got := c.awaitShown(t, at, name); !got.Equal(first) {
			t.Errorf("%s shows another certificate", at)
		}
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	t.Cleanup(func() { transport.Close(); socket.Close() })
	conn, err := transport.Dial(t.Context(), net.UDPAddrFromAddrPort(doq), &tls.Config{ServerName: name, RootCAs: c.authority.Pool(), NextProtos: []string{"doq"}}, nil)
	if err != nil || !conn.ConnectionState().TLS.PeerCertificates[0].Equal(first) {
		t.Errorf("over QUIC: %v", err)
	}
	if _, err := transport.Dial(t.Context(), net.UDPAddrFromAddrPort(doq), &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}}, nil); err == nil {
		t.Error("a validation is answered over QUIC")
	}
	for _, at := range c.doors { // none is under way
		if err := validateAt(at, "tls-alpn-01", name, "", ""); err == nil || !strings.Contains(err.Error(), "tls: ") {
			t.Errorf("%s: %v", at, err)
		}
	}

	_, body := c.get("/status")
	var s control.Status
	if err := json.Unmarshal([]byte(body), &s); err != nil || len(s.Certificates) != 1 || !s.Certificates[0].NotAfter.Equal(first.NotAfter) || s.Certificates[0].LastError != "" {
		t.Errorf("%v\n%s", err, body)
	}
	if _, body := c.get("/metrics"); !strings.Contains(body, `watertight_certificate_failures{name="proxy.example.net"} 0`) {
		t.Errorf("%s", body)
	}

	files, err := filepath.Glob(filepath.Join(c.state, "*"))
	if err != nil || len(files) < 3 {
		t.Errorf("%v, %v", files, err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	c.live = newLive(t, text).start()
	if got := c.awaitShown(t, proxy, name); !got.Equal(first) {
		t.Error("the next run asked for another")
	}
	if n := len(c.authority.Begun()); n != 1 {
		t.Errorf("%d orders", n)
	}
}

func TestACME_ByHTTPIsServedNothingElse_AndAReloadChangesTheNamesWithoutDroppingAConnection(t *testing.T) {
	c := newAuthority(t)
	proxy, challenge := freePort(t), freePort(t)
	c.doors = []netip.AddrPort{challenge}
	config := func(name string) string {
		return fmt.Sprintf("listen: {proxy: {address: %q, tls: {acme: %s}}}\n", proxy, name) + c.section(fmt.Sprintf(", http: %q", challenge))
	}
	c.live = newLive(t, config("one.example.net")).start().awaitReady()
	c.awaitShown(t, proxy, "one.example.net")
	conn, err := tls.Dial("tcp", proxy.String(), &tls.Config{ServerName: "one.example.net", RootCAs: c.authority.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	inside := &tunnel{conn, bufio.NewReader(conn)}
	if resp := inside.connect(t, c.target()); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	c.mustReload(config("two.example.net"))
	c.awaitShown(t, proxy, "two.example.net")
	inside.carries(t)
	for _, path := range []string{"/", "/healthz", "/.well-known/acme-challenge/token-0-0", "/metrics"} {
		resp, err := adminGets(t, fmt.Sprintf("http://%s%s", challenge, path), "")
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	c.mustReload(fmt.Sprintf("listen: {proxy: %q}\n", freePort(t)))
	if listens(challenge) || listens(proxy) {
		t.Error("a listener stays that is not in the configuration")
	}
}

func TestACME_WithoutAnAuthorityRefusesHandshakesAndSaysWhy(t *testing.T) {
	c := newAuthority(t)
	c.authority.Validate = func(string, string, string, string) error { return errors.New("nobody is there") }
	proxy := freePort(t)
	c.live = newLive(t, fmt.Sprintf("listen: {proxy: {address: %q, tls: {acme: one.example.net}}, admin: \"127.0.0.1:0\"}\n", proxy)+c.section("")).start().awaitReady()
	for until := time.Now().Add(limit); !strings.Contains(c.log.String(), "nobody is there"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s", c.log)
		}
	}
	if conn, err := tls.Dial("tcp", proxy.String(), &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Errorf("it shows a certificate of %v", conn.ConnectionState().PeerCertificates[0].Issuer)
		_ = conn.Close()
	}
	if _, body := c.get("/status"); !strings.Contains(body, "nobody is there") {
		t.Errorf("%s", body)
	}
	if !strings.Contains(c.log.String(), "a handshake was refused") {
		t.Errorf("%s", c.log)
	}
}
