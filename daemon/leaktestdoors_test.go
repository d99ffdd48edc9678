package daemon

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"watertight/connect"
	"watertight/leaktest"
)

// provenDoors are listeners that speak TLS, most of which ask who comes, and one that is behind balancers.
func provenDoors(t *testing.T) string {
	t.Helper()
	dir := doorFiles(t)
	users := filepath.Join(dir, "users")
	usersFile(t, users, "alice")
	secure := func(more string) string {
		return fmt.Sprintf("tls: {cert: %q, key: %q%s}", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), more)
	}
	certified := secure(fmt.Sprintf(", client_ca: %q", filepath.Join(dir, "ca.pem")))
	return fmt.Sprintf(`{proxy: [{address: "127.0.0.1:0", h3: true, %[1]s, users: %[3]q}, {address: "127.0.0.1:0", h3: true, %[2]s},
  {address: "127.0.0.1:0", users: %[3]q, proxy_protocol: 127.0.0.0/8}, {address: "127.0.0.1:0", %[1]s}],
 dns: [{address: "quic://127.0.0.1:0", %[2]s}, {address: "tls://127.0.0.1:0", %[1]s}, {address: "https://127.0.0.1:0/dns-query", %[2]s}],
 gateway: [{address: "127.0.0.1:0", %[1]s, users: %[3]q}, {address: "127.0.0.1:0", %[2]s}]}`, secure(""), certified, users)
}

var throughProof = []string{"NAME-BY-DOOR", "DATAGRAM-BY-DOOR", "DNS-DOOR", "GATEWAY-CLOSED", "NAME-BY-GATEWAY", "PLAIN-HTTP", "PLAIN-DNS"}

// TestLeakTest_DoorsThatAskForProofAreTriedToo, those of HTTP/2, HTTP/3 and QUIC, and one behind balancers.
func TestLeakTest_DoorsThatAskForProofAreTriedToo(t *testing.T) {
	l, _ := liveCanary(t, "# proven\n")
	for _, one := range l.tries(throughProof...).Cases {
		said := strings.Join(one.Evidence, "\n")
		if one.Verdict != leaktest.Sealed {
			t.Errorf("%s is %s: %s\n%s", one.ID, one.Verdict, one.Reason, said)
		}
		for _, e := range one.Evidence {
			if strings.HasPrefix(e, "not tried: ") && !strings.Contains(e, "SOCKS4a: it asks for a password") && !strings.Contains(e, "the entry /a/") {
				t.Errorf("%s: %s", one.ID, e)
			}
		}
		for _, way := range map[string][]string{
			"NAME-BY-DOOR":     {"by HTTP CONNECT", "by SOCKS5", "by CONNECT over HTTP/2", "by CONNECT over HTTP/3"},
			"DATAGRAM-BY-DOOR": {"by SOCKS5, a datagram: the canary was asked", "by connect-udp, a datagram: the canary was asked", "by connect-udp over HTTP/3, a datagram: the canary was asked"},
			"DNS-DOOR":         {"over QUIC, HTTPS", "over TLS, HTTPS", "over HTTPS, HTTPS", "over HTTPS (HTTP/2), HTTPS", "over HTTPS (HTTP/3), HTTPS"},
		}[one.ID] {
			if !strings.Contains(said, way) {
				t.Errorf("%s was not tried %s", one.ID, way)
			}
		}
		for _, d := range l.at.Proxy {
			if one.ID == "NAME-BY-DOOR" && !strings.Contains(said, d.String()+" by SOCKS5") {
				t.Errorf("%s was not tried", d)
			}
		}
		if at := l.at.Proxy[1].String() + " by SOCKS4a"; one.ID == "NAME-BY-DOOR" && !strings.Contains(said, at+", v4") {
			t.Errorf("it was not tried %s, which has room for a certificate", at)
		}
	}
}

// TestLeakTest_WhatItComesInByIsNobodyElses, and a reload ends it with what it opened.
func TestLeakTest_WhatItComesInByIsNobodyElses(t *testing.T) {
	l, _ := liveCanary(t, "# proven\n")
	pass, err := l.d.keeper.NewPass(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer pass.End()
	said, at := pass.Credentials(), l.at.Proxy[2].String()
	ask := func(dial func(context.Context) (net.Conn, error)) (conn net.Conn, status int) {
		t.Helper()
		conn, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "PROXY UNKNOWN\r\nCONNECT %s HTTP/1.1\r\nHost: x\r\nProxy-Authorization: %s\r\n\r\n", l.target(), connect.Credentials(said.Username, said.Password))
		resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
		if err != nil {
			t.Fatal(err)
		}
		return conn, resp.StatusCode
	}
	dial := func(context.Context) (net.Conn, error) { return net.Dial("tcp", at) }
	if _, got := ask(dial); got != http.StatusProxyAuthRequired {
		t.Errorf("another who knows it gets %d", got)
	}
	own, got := ask(func(ctx context.Context) (net.Conn, error) { return pass.Dial(ctx, dial) })
	if got != http.StatusOK {
		t.Errorf("the test itself gets %d", got)
	}
	if err := l.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Read(make([]byte, 1)); err == nil || l.d.keeper.HasPass() {
		t.Errorf("it outlives a reload: %v", err)
	}
	if text := l.log.String(); strings.Contains(text, said.Username) || strings.Contains(text, said.Password) {
		t.Errorf("the log tells what it comes in by:\n%s", text)
	}
}

// TestLeakTest_OneThatIsBrokenOffLeavesNothingToComeInBy, nor does one that ends.
func TestLeakTest_OneThatIsBrokenOffLeavesNothingToComeInBy(t *testing.T) {
	l, _ := liveCanary(t, "")
	ctx, stop := context.WithCancel(t.Context())
	had := false
	if _, err := l.d.LeakTest(ctx, TestRequest{Only: []string{"PLAIN-DNS"}, Progress: func(leaktest.Progress) { had = l.d.keeper.HasPass(); stop() }}); err == nil {
		t.Error("one that was broken off gives a report")
	}
	if !had || l.d.keeper.HasPass() {
		t.Errorf("while it ran there was something: %v; and after: %v", had, l.d.keeper.HasPass())
	}
	if l.tries("TRAP"); l.d.keeper.HasPass() {
		t.Error("one that has ended leaves it")
	}
}

// TestLeakTest_AReloadInTheMiddleShowsNothingOfDoorsThatAskForProof: what they refuse then is not what they refuse a client.
func TestLeakTest_AReloadInTheMiddleShowsNothingOfDoorsThatAskForProof(t *testing.T) {
	l, _ := liveCanary(t, "# proven\n")
	all := []string{"PLAIN-DNS", "SPECIAL-NAME", "GATEWAY-CLOSED", "NAME-BY-GATEWAY", "DATAGRAM-BY-DOOR"}
	r, err := l.d.LeakTest(t.Context(), TestRequest{Only: all, Progress: func(leaktest.Progress) { l.d.keeper.EndPass() }})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Cases {
		if c.Verdict != leaktest.Inconclusive {
			t.Errorf("%s is %s: %s\n%s", c.ID, c.Verdict, c.Reason, strings.Join(c.Evidence, "\n"))
		}
	}
}

// TestLeakTest_ARelayIsWhereItsListenerIs: nothing is sent to where a door merely says that it relays.
func TestLeakTest_ARelayIsWhereItsListenerIs(t *testing.T) {
	for _, one := range []struct {
		listener, relay string
		want            bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"::", "::ffff:127.0.0.1", true},
		{"2001:db8::1", "2001:db8::1", true},
		{"127.0.0.1", "192.0.2.1", false},
		{"192.0.2.1", "192.0.2.2", false},
		{"0.0.0.0", "192.0.2.1", false},
	} {
		if got := isRelayOf(netip.MustParseAddr(one.listener), netip.MustParseAddr(one.relay)); got != one.want {
			t.Errorf("%s of %s: %v", one.relay, one.listener, got)
		}
	}
}
