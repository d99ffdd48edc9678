package daemon

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/gate"
)

// usersFile writes a file of users, each with the password s3cret.
func usersFile(t *testing.T, path string, users ...string) {
	t.Helper()
	var b strings.Builder
	for _, u := range users {
		line, err := gate.NewLine(u, "s3cret")
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(line + "\n")
	}
	if err := gate.WriteSecret(path, []byte(b.String())); err != nil {
		t.Fatal(err)
	}
}

// asks asks for a tunnel with user and password and gives the answer.
func (c *tunnel) asks(t *testing.T, target, user string) *http.Response {
	t.Helper()
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", target, base64.StdEncoding.EncodeToString([]byte(user+":s3cret")))
	resp, err := http.ReadResponse(c.r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestListenProxyUsers_AreLetInUntilAReloadTakesThemAway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	usersFile(t, file, "alice", "bob")
	at := freePort(t)
	text := fmt.Sprintf("listen: {proxy: {address: %q, users: %q}}\n", at, file)
	l := newLive(t, text).start().awaitReady()
	l.refuses(at, l.target(), http.StatusProxyAuthRequired, "AUTH_REQUIRED")
	alice, bob := dialProxy(t, at), dialProxy(t, at)
	for c, user := range map[*tunnel]string{alice: "alice-session-1", bob: "bob"} {
		if resp := c.asks(t, l.target(), user); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", user, resp.Status)
		}
		c.carries(t)
	}
	waiting := dialProxy(t, at)
	if resp := waiting.asks(t, "gone.example:1", "bob"); resp.StatusCode != http.StatusBadGateway {
		t.Error(resp.Status)
	} else {
		resp.Body.Close()
	}
	usersFile(t, file, "alice")
	l.mustReload(text)
	if resp := waiting.asks(t, l.target(), "bob"); resp.StatusCode != http.StatusProxyAuthRequired {
		t.Errorf("a user who is gone gets %s on a connection from before", resp.Status)
	}
	if resp := dialProxy(t, at).asks(t, l.target(), "bob"); resp.StatusCode != http.StatusProxyAuthRequired {
		t.Errorf("a user who is gone gets %s", resp.Status)
	}
	if resp := dialProxy(t, at).asks(t, l.target(), "alice"); resp.StatusCode != http.StatusOK {
		t.Errorf("a user who stays gets %s", resp.Status)
	}
	bob.carries(t)
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.reload(text); err == nil {
		t.Error("a file of users that cannot be read was taken")
	}
	if strings.Contains(l.log.String(), "s3cret") || strings.Contains(l.log.String(), "alice") {
		t.Errorf("the log tells too much\n%s", l.log)
	}
}

func TestListenProxyTLS_HoldsFromTheReloadOn_AtTheSameAddress(t *testing.T) {
	dir := doorFiles(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	at := freePort(t)
	l := newLive(t, fmt.Sprintf("listen: {proxy: %q}\n", at)).start().awaitReady()
	c, waiting := l.tunnel(at), dialProxy(t, at)
	if _, err := io.Copy(io.Discard, waiting.connect(t, "dns.google:443").Body); err != nil {
		t.Fatal(err)
	}
	l.mustReload(fmt.Sprintf("listen: {proxy: {address: %q, tls: {cert: %q, key: %q}}}\n", at, cert, key))
	if resp := waiting.connect(t, l.target()); resp.StatusCode != http.StatusBadRequest || !resp.Close {
		t.Errorf("on a connection in clear from before: %s, and it ends: %v", resp.Status, resp.Close)
	}
	l.refuses(at, l.target(), http.StatusBadRequest, "BAD_REQUEST")
	conn, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	inside := &tunnel{net.Conn(conn), bufio.NewReader(conn)}
	if resp := inside.connect(t, l.target()); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	inside.carries(t)
	c.carries(t)
}

func TestAConnectionOfAListenerThatIsGone_CarriesNothingNew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	usersFile(t, file, "alice")
	before, after := freePort(t), freePort(t)
	l := newLive(t, fmt.Sprintf("listen: {proxy: {address: %q, users: %q}}\n", before, file)).start().awaitReady()
	waiting, c := dialProxy(t, before), dialProxy(t, before)
	if resp := waiting.asks(t, "gone.example:1", "alice"); resp.StatusCode != http.StatusBadGateway {
		t.Fatal(resp.Status)
	} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp := c.asks(t, l.target(), "alice"); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	l.mustReload(fmt.Sprintf("listen: {proxy: %q}\n", after))
	if resp := waiting.asks(t, l.target(), "alice"); resp.StatusCode != http.StatusServiceUnavailable || !resp.Close {
		t.Errorf("who came by a listener that is gone gets %s, and the connection ends: %v", resp.Status, resp.Close)
	}
	c.carries(t)
}

func TestASocketOfTheServiceManagerBeyondLoopback_NeedsAWordInTheConfiguration(t *testing.T) {
	socket, err := net.ListenTCP("tcp", &net.TCPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	given, err := passedListeners(map[string][]*net.TCPListener{"proxy": {socket}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openListeners(wishes{Listen: listenOn(freePort(t))}, given); err == nil || !strings.Contains(err.Error(), "who may use it") {
		t.Errorf("it is served to everyone: %v", err)
	}
	named := listenOn(netip.AddrPortFrom(netip.IPv6Unspecified(), socket.Addr().(*net.TCPAddr).AddrPort().Port()))
	next, err := openListeners(wishes{Listen: named}, given)
	if err != nil {
		t.Fatal(err)
	}
	next.closeUnless(nil)
}

func TestLimitsPerUser_HoldForEachUser_FromTheReloadOn(t *testing.T) {
	at := freePort(t)
	text := fmt.Sprintf("listen: {proxy: %q}\n", at)
	l := newLive(t, text+"limits: {per_user: {connections: 1}}\n").start().awaitReady()
	ask := func(user string, want int) *tunnel {
		t.Helper()
		c := dialProxy(t, at)
		if resp := c.asks(t, l.target(), user); resp.StatusCode != want {
			t.Errorf("%s: %s", user, resp.Status)
		}
		return c
	}
	first := ask("alice", http.StatusOK)
	ask("alice-session-1", http.StatusServiceUnavailable)
	ask("bob", http.StatusOK)
	l.tunnel(at)
	l.tunnel(at)
	l.mustReload(text + "limits: {per_user: {connections: 2}}\n")
	ask("alice-session-1", http.StatusOK)
	ask("alice", http.StatusServiceUnavailable)
	first.carries(t)
	l.mustReload(text + "limits: {per_user: {new_per_second: 1000000}}\n")
	ask("alice", http.StatusOK)
	w := httptest.NewRecorder()
	l.d.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, "LIMIT") || strings.Contains(body, "alice") {
		t.Errorf("%d: the metrics tell nothing, or too much", w.Code)
	}
}

func TestRoutesUser_SendEachUserHisOwnWay(t *testing.T) {
	at := freePort(t)
	l := newLive(t, fmt.Sprintf("listen: {proxy: %q}\n", at)+
		"routes: [{to: \"*\", user: [mallory, \"guest-*\"], channel: refuse}, {to: example.org, user: alice, channel: refuse}, {to: \"*\", channel: direct}]\n").start().awaitReady()
	for user, want := range map[string]int{
		"mallory": http.StatusForbidden, "mallory-session-1": http.StatusForbidden, "guest-7": http.StatusForbidden,
		"alice": http.StatusOK, "guest": http.StatusOK, "": http.StatusOK,
	} {
		if resp := dialProxy(t, at).asks(t, l.target(), user); resp.StatusCode != want {
			t.Errorf("%q: %s", user, resp.Status)
		}
	}
}

func TestListenProxyH3_CarriesTunnelsBesideTheOthers(t *testing.T) {
	dir := doorFiles(t)
	at := freePort(t)
	l := newLive(t, fmt.Sprintf("listen: {proxy: {address: %q, tls: {cert: %q, key: %q}, h3: true}}\n", at, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))).start().awaitReady()
	own, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	conn, err := quic.Dial(ctx, own, net.UDPAddrFromAddrPort(at), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	s, err := (&http3.Transport{Dial: noDial}).NewClientConn(conn).OpenRequestStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendRequestHeader(&http.Request{Method: http.MethodConnect, URL: &url.URL{Host: l.target()}, Host: l.target(), Header: http.Header{}}); err != nil {
		t.Fatal(err)
	}
	resp, err := s.ReadResponse()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_ = s.SetDeadline(time.Now().Add(limit))
	fmt.Fprintln(s, "ping")
	if got, err := bufio.NewReader(s).ReadString('\n'); got != "ping\n" {
		t.Errorf("the echo was %q (%v)", got, err)
	}
	inside, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	if resp := (&tunnel{inside, bufio.NewReader(inside)}).connect(t, l.target()); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	s.Close()
}

// noDial is of a transport that is given its connection.
func noDial(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) {
	return nil, net.ErrClosed
}
