package control

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"watertight/gate"
	"watertight/lab/dnstest"
)

// door is a door that a test changes.
type door struct {
	tls   atomic.Pointer[tls.Config]
	rules atomic.Pointer[gate.Rules]
}

func (d *door) door() Door {
	return Door{TLS: d.tls.Load, Rules: d.rules.Load, Keeper: gate.NewKeeper()}
}

func usersNamed(t *testing.T, names ...string) *gate.Users {
	t.Helper()
	var text strings.Builder
	for _, n := range names {
		line, err := gate.NewLine(n, "s3cret")
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(line + "\n")
	}
	u, err := gate.ParseUsers([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// as is a request of a user on a connection that stays.
func as(user, password string) string {
	return "GET /status HTTP/1.1\r\nHost: 127.0.0.1:9053\r\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + "\r\n\r\n"
}

func TestServeAdmin_AnswersUsersAlone(t *testing.T) {
	var d door
	d.rules.Store(gate.Guarded(usersNamed(t, "alice"), nil))
	at := adminBy(t, server(t, &source{}), d.door())
	for _, path := range []string{"/", "/healthz", "/readyz", "/status", "/metrics", "/proxy.pac", "/nothing"} {
		resp, body := send(t, at, get(path))
		if resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") || strings.Contains(body, "watertight_ready") {
			t.Errorf("%s: %s %v %q", path, resp.Status, resp.Header, body)
		}
	}
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range []struct {
		user, password string
		status         int
	}{{"alice", "s3cret", 200}, {"alice", "wrong", 401}, {"bob", "s3cret", 401}, {"", "", 401}, {"alice", "s3cret", 200}} {
		if resp, body := exchange(t, conn, as(c.user, c.password)); resp.StatusCode != c.status || strings.Contains(body, "s3cret") {
			t.Errorf("%s, %s: %s\n%s", c.user, c.password, resp.Status, body)
		}
	}
	d.rules.Store(gate.Guarded(usersNamed(t, "bob"), nil))
	if resp, _ := exchange(t, conn, as("alice", "s3cret")); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a user who is gone gets %s on a connection from before", resp.Status)
	}
	d.rules.Store(gate.Closed())
	if resp, _ := exchange(t, conn, as("bob", "s3cret")); resp.StatusCode != http.StatusServiceUnavailable || !resp.Close {
		t.Errorf("a listener that is no more answers %s", resp.Status)
	}
}

func TestServeAdmin_EndsAConnectionThatGuesses(t *testing.T) {
	var d door
	d.rules.Store(gate.Guarded(usersNamed(t, "alice"), nil))
	at := adminBy(t, server(t, &source{}), d.door())
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 7 {
		if resp, _ := exchange(t, conn, as("alice", "wrong")); resp.Close {
			t.Fatal("it ended early")
		}
	}
	if resp, _ := exchange(t, conn, as("alice", "wrong")); !resp.Close {
		t.Error("it goes on")
	}
}

func TestServeAdmin_OverTLSAsksForTheCertificatesInForce(t *testing.T) {
	ours, others := dnstest.NewCA(), dnstest.NewCA()
	cert := ours.Issue(nil, []netip.Addr{netip.MustParseAddr("127.0.0.1")})
	var d door
	secured := func(clients *x509.CertPool) {
		d.tls.Store(gate.ServerTLS(&cert, clients))
		if clients == nil {
			d.rules.Store(gate.Open().OverTLS())
			return
		}
		d.rules.Store(gate.Certified(clients).OverTLS())
	}
	secured(nil)
	s := server(t, &source{})
	at := adminBy(t, s, d.door())
	dial := func(certificates ...tls.Certificate) (*tls.Conn, error) {
		return tls.Dial("tcp", at, &tls.Config{RootCAs: ours.Pool(), Certificates: certificates, NextProtos: []string{"h2", "http/1.1"}})
	}
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const request = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	if resp, _ := exchange(t, conn, request); resp.StatusCode != http.StatusOK || conn.ConnectionState().NegotiatedProtocol != "http/1.1" {
		t.Errorf("%s over %q", resp.Status, conn.ConnectionState().NegotiatedProtocol)
	}
	secured(ours.Pool())
	if resp, _ := exchange(t, conn, request); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("a connection without a certificate, from before it was asked for, gets %s", resp.Status)
	}
	before := s.Handshakes()
	if bare, err := dial(); err == nil {
		if _, err = bare.Read(make([]byte, 1)); err == nil {
			t.Error("a client without a certificate is let in")
		}
		_ = bare.Close()
	}
	mine, err := dial(ours.IssueLeaf(dnstest.Leaf{Client: true, User: "alice"}))
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	if resp, body := exchange(t, mine, request); resp.StatusCode != http.StatusOK {
		t.Errorf("%s %s", resp.Status, body)
	}
	for end := time.Now().Add(5 * time.Second); s.Handshakes() == before && time.Now().Before(end); {
		runtime.Gosched() // it is counted after the client was told
	}
	if n := s.Handshakes(); n != before+1 {
		t.Errorf("%d handshakes failed, want one more than %d", n, before)
	}
	secured(others.Pool())
	if resp, _ := exchange(t, mine, request); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a certificate of another authority gets %s", resp.Status)
	}
}

func TestServeAdmin_TakesNothingInClearOnceItSpeaksTLS(t *testing.T) {
	var d door
	d.rules.Store(gate.Open())
	at := adminBy(t, server(t, &source{}), d.door())
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if resp, _ := exchange(t, conn, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	cert := dnstest.NewCA().Issue([]string{"admin.example"}, nil)
	d.tls.Store(gate.ServerTLS(&cert, nil))
	d.rules.Store(gate.Open().OverTLS())
	if resp, body := exchange(t, conn, as("alice", "s3cret")); resp.StatusCode != http.StatusBadRequest || !resp.Close {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestServeAdmin_NeedsAWholeDoor(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := server(t, &source{}).ServeAdmin(t.Context(), l, Door{}); err == nil {
		t.Error("a door without rules lets in whom it likes")
	}
}
