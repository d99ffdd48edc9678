package daemon

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// adminGets asks the admin port on a connection of its own, as a user unless the name is empty.
func adminGets(t *testing.T, to, user string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, "s3cret")
	}
	resp, err := exchanged(r)
	if err == nil {
		_ = resp.Body.Close()
	}
	return resp, err
}

// exchanged sends a request on a connection of its own, which ends with the answer.
func exchanged(r *http.Request) (*http.Response, error) {
	conn, err := net.Dial("tcp", r.URL.Host)
	if err != nil {
		return nil, err
	}
	if r.URL.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	r.Close = true
	if err := r.Write(conn); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

func TestListenAdmin_AsksForUsersOverTLS_FromTheReloadOn(t *testing.T) {
	dir := doorFiles(t)
	users := filepath.Join(dir, "admins")
	usersFile(t, users, "alice")
	at, proxy := freePort(t), freePort(t)
	config := func(admin string) string {
		return fmt.Sprintf("listen: {proxy: %q, admin: %s}\n", proxy, admin)
	}
	secured := config(fmt.Sprintf("{address: %q, tls: {cert: %q, key: %q}, users: %q}", at, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), users))
	l := newLive(t, config(fmt.Sprintf("%q", at))).start().awaitReady()
	if resp, err := adminGets(t, fmt.Sprintf("http://%s/status", at), ""); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	l.mustReload(secured)
	if resp, err := adminGets(t, fmt.Sprintf("http://%s/status", at), ""); err == nil && resp.StatusCode != http.StatusBadRequest {
		t.Errorf("in clear: %s", resp.Status)
	}
	for user, want := range map[string]int{"": http.StatusUnauthorized, "alice": http.StatusOK, "bob": http.StatusUnauthorized} {
		if resp, err := adminGets(t, fmt.Sprintf("https://%s/status", at), user); err != nil || resp.StatusCode != want {
			t.Errorf("%q: %v, %v", user, resp, err)
		}
	}
	usersFile(t, users, "bob")
	l.mustReload(secured)
	for user, want := range map[string]int{"alice": http.StatusUnauthorized, "bob": http.StatusOK} {
		if resp, err := adminGets(t, fmt.Sprintf("https://%s/status", at), user); err != nil || resp.StatusCode != want {
			t.Errorf("%q after the reload: %v, %v", user, resp, err)
		}
	}
}

func TestMetrics_CountTheHandshakesThatFailed(t *testing.T) {
	dir := doorFiles(t)
	proxy, dot, doh, admin, gateway := freePort(t), freePort(t), freePort(t), freePort(t), freePort(t)
	files := fmt.Sprintf("tls: {cert: %q, key: %q}", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	l := newLive(t, fmt.Sprintf("listen: {proxy: {address: %q, %s}, dns: [{address: \"tls://%s\", %s}, {address: \"https://%s\", %s}], admin: [\"127.0.0.1:0\", {address: %q, %s}], gateway: {address: %q, %s}}\ngateway: {path: /a/, to: \"https://%s/\"}\n",
		proxy, files, dot, files, doh, files, admin, files, gateway, files, hostName)).start().awaitReady()
	for _, at := range []fmt.Stringer{proxy, dot, doh, admin, gateway} {
		// The client trusts nobody.
		if _, err := tls.Dial("tcp", at.String(), &tls.Config{ServerName: "other.example"}); err == nil {
			t.Fatalf("%s has a certificate for any name", at)
		}
	}
	for _, line := range []string{`{listener="proxy"} 1`, `{listener="dns"} 2`, `{listener="admin"} 1`, `{listener="gateway"} 1`} {
		for until := time.Now().Add(limit); ; time.Sleep(time.Millisecond) { // the far side of a handshake learns of its end a little later
			_, body := l.get("/metrics")
			if strings.Contains(body, "watertight_tls_handshakes_failed_total"+line) {
				break
			}
			if time.Now().After(until) {
				t.Fatalf("/metrics has no %s", line)
			}
		}
	}
}
