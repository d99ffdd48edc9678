package canary

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"watertight/lab/dnstest"
	"watertight/visit"
	"watertight/wire"
)

// serves serves the page at a free port of loopback until the test ends, and says where.
func (s *site) serves(t *testing.T, p Port) netip.AddrPort {
	t.Helper()
	l, err := wire.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	p.Socket = l
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, p) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// says sends a text, and gives the answer's head and body.
func says(t *testing.T, conn net.Conn, text string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(body)
}

func dial(t *testing.T, to netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := wire.DialTCP(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func TestThePageIsServedInClearAndByTLS(t *testing.T) {
	s := newSite(t, Nowhere{})
	label := visit.NewLabel()
	host := visit.Name(label, visit.V4, testZone)
	request := "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	if r, body := says(t, dial(t, s.serves(t, Port{})), request); r.StatusCode != http.StatusOK || !strings.Contains(body, "127.0.0.1") || !strings.Contains(body, "http://"+testZone+"/api/v1/labels/"+label+"\n") {
		t.Errorf("%v %s", r, body)
	}
	ca := dnstest.NewCA()
	cert := ca.Issue([]string{testZone, "*." + testZone}, nil)
	at := s.serves(t, Port{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	conn := tls.Client(dial(t, at), &tls.Config{ServerName: host, RootCAs: ca.Pool(), NextProtos: []string{"h2", "http/1.1"}})
	if r, body := says(t, conn, request); r.StatusCode != http.StatusOK || conn.ConnectionState().NegotiatedProtocol != "http/1.1" {
		t.Errorf("%v %s", r, body)
	}
	seen, _ := s.log.Seen(label)
	if len(seen.Requests) != 2 || seen.Requests[0].Secure || !seen.Requests[1].Secure {
		t.Errorf("%+v", seen.Requests)
	}
}

func TestAVisitorIsNotKnownAgainByTLS(t *testing.T) {
	s := newSite(t, Nowhere{})
	ca := dnstest.NewCA()
	at := s.serves(t, Port{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue([]string{testZone}, nil)}, MinVersion: tls.VersionTLS12}})
	kept := tls.NewLRUClientSessionCache(10)
	for range 2 {
		conn := tls.Client(dial(t, at), &tls.Config{ServerName: testZone, RootCAs: ca.Pool(), ClientSessionCache: kept})
		if r, _ := says(t, conn, "GET /robots.txt HTTP/1.1\r\nHost: "+testZone+"\r\n\r\n"); r.StatusCode != http.StatusOK || conn.ConnectionState().DidResume {
			t.Errorf("%v, resumed: %t", r.Status, conn.ConnectionState().DidResume)
		}
	}
}

func TestWhereThePageIsServedByTLSOnlyVisitsAreAnsweredInClear(t *testing.T) {
	s := newSite(t, Nowhere{})
	at := s.serves(t, Port{Redirect: 443})
	label := visit.NewLabel()
	for host, want := range map[string]int{testZone: http.StatusPermanentRedirect, label + "." + testZone: http.StatusOK} {
		r, _ := says(t, dial(t, at), "GET /p.svg?x HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if r.StatusCode != want || want != http.StatusOK && r.Header.Get("Location") != "https://"+testZone+"/p.svg?x" {
			t.Errorf("%s: %v", host, r)
		}
	}
}

func TestWhoWantsThePageByTLSIsSentToThePortWhereItIs(t *testing.T) {
	s := newSite(t, Nowhere{})
	r, _ := says(t, dial(t, s.serves(t, Port{Redirect: 8443})), "GET /visit/x HTTP/1.1\r\nHost: "+testZone+":8080\r\n\r\n")
	if r.StatusCode != http.StatusPermanentRedirect || r.Header.Get("Location") != "https://"+testZone+":8443/visit/x" {
		t.Errorf("%v", r)
	}
}

func TestWhoWantsThePageByTLSIsSentToNoOtherHost(t *testing.T) {
	s := newSite(t, Nowhere{})
	at := s.serves(t, Port{Redirect: 443})
	for _, target := range []string{"/", "//evil.example/", "http://evil.example/x", "x:.evil.example", "/\\evil.example"} {
		r, _ := says(t, dial(t, at), "GET "+target+" HTTP/1.1\r\nHost: "+testZone+"\r\n\r\n")
		if to := r.Header.Get("Location"); r.StatusCode == http.StatusPermanentRedirect && !strings.HasPrefix(to, "https://"+testZone+"/") {
			t.Errorf("%s leads to %s", target, to)
		}
	}
}

func TestAHeadThatIsTooLargeIsRefused(t *testing.T) {
	s := newSite(t, Nowhere{})
	conn := dial(t, s.serves(t, Port{}))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+testZone+"\r\nX: "+strings.Repeat("x", 2*webHeader)+"\r\n\r\n") // it may be cut off
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 431 ") {
		t.Errorf("%q %v", line, err)
	}
}

// lost are Networks with a fault.
type lost struct{}

func (lost) Network(a netip.Addr) *visit.Network { panic(a) }

func TestAFaultIsToldWithoutTheVisitor(t *testing.T) {
	s := newSite(t, lost{})
	conn := dial(t, s.serves(t, Port{}))
	_, _ = io.WriteString(conn, "GET /api/v1/whoami HTTP/1.1\r\nHost: "+testZone+"\r\n\r\n") // it may be cut off
	if b, _ := io.ReadAll(conn); len(b) > 0 {
		t.Errorf("%s", b)
	}
	if text := s.own.String(); !strings.Contains(text, "panic=netip.Addr") || !strings.Contains(text, "lost.Network") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("the log has %q", text)
	}
}

func TestOneNetworkDoesNotTakeAllConnections(t *testing.T) {
	s := newSite(t, Nowhere{})
	at := s.serves(t, Port{})
	var all []net.Conn
	for range webOfNetwork {
		all = append(all, dial(t, at))
	}
	ends := func(conn net.Conn) bool {
		_, err := io.WriteString(conn, "GET /robots.txt HTTP/1.1\r\nHost: "+testZone+"\r\n\r\n")
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		return err != nil
	}
	if !ends(dial(t, at)) {
		t.Error("one more is answered")
	}
	if ends(all[0]) {
		t.Error("the first is not answered")
	}
	for _, conn := range all {
		conn.Close()
	}
	for again := true; again; { // the server hears of it after a while
		conn := dial(t, at)
		again = ends(conn)
		conn.Close()
	}
}

func TestSTUNTellsWhoAsksHisAddress(t *testing.T) {
	s := newSite(t, Nowhere{})
	socket, err := wire.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.ServeSTUN(ctx, socket) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	conn, err := wire.DialUDP(socket.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	request := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, "twelve bytes"...)
	for _, b := range [][]byte{[]byte("no STUN"), request} {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 100)
	n, err := conn.Read(b)
	if err != nil || n != 32 || string(b[8:20]) != "twelve bytes" {
		t.Fatalf("%x %v", b[:n], err)
	}
	port := binary.BigEndian.Uint16(b[26:]) ^ 0x2112
	addr := [4]byte{b[28] ^ 0x21, b[29] ^ 0x12, b[30] ^ 0xa4, b[31] ^ 0x42}
	if got := netip.AddrPortFrom(netip.AddrFrom4(addr), port); got != conn.LocalAddr().(*net.UDPAddr).AddrPort() {
		t.Errorf("%v", got)
	}
}
