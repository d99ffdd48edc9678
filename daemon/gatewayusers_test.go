package daemon

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"watertight/gate"
	"watertight/lab/dnstest"
)

func TestGateway_LetsItsUsersInOverTLS_fromWhereverTheyAre(t *testing.T) {
	dir := doorFiles(t)
	file, key := filepath.Join(dir, "gateway-users"), filepath.Join(dir, "gateway-key")
	usersFile(t, file, "alice", "bob")
	if err := gate.WriteSecret(key, []byte(strings.Repeat("k", gate.MinKey))); err != nil {
		t.Fatal(err)
	}
	cert, private := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	at := freePort(t)
	listening := func(users, more string) string {
		return fmt.Sprintf("listen: {proxy: 127.0.0.1:0, gateway: {address: %q, tls: {cert: %q, key: %q%s}%s}}\n", at, cert, private, more, users)
	}
	users := fmt.Sprintf(", users: %q, token_key: %q", file, key)
	token := func(user string) string {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		u, err := gate.ParseUsers(b)
		if err != nil {
			t.Fatal(err)
		}
		s, err := u.Token([]byte(strings.Repeat("k", gate.MinKey)), user, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	shown := &tls.Config{InsecureSkipVerify: true}
	asks := func(path, user string, want int) {
		t.Helper()
		tr := &http.Transport{TLSClientConfig: shown, DialContext: dialLoopback, DisableKeepAlives: true}
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+at.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			r.SetBasicAuth(user, "s3cret")
			r.Header.Set("Watertight-Authorization", r.Header.Get("Authorization"))
			r.Header.Del("Authorization")
		}
		resp, err := tr.RoundTrip(r)
		if err != nil {
			if want != 0 {
				t.Errorf("%s: %v", path, err)
			}
			return
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != want {
			t.Errorf("%s as %q: %d %s, want %d", path, user, resp.StatusCode, body, want)
		}
	}
	g := newGated(t, one, listening(users, ""))
	g.start().awaitReady()
	alice := "/~alice:" + token("alice")
	asks("/a/x", "", 401)
	asks("/a/x", "alice", 200)
	asks(alice+"/a/x", "", 200)
	asks("/a/x", "eve", 401)
	usersFile(t, file, "bob")
	g.mustReload(g.text(one, listening(users, "")))
	asks("/a/x", "alice", 401)
	asks(alice+"/a/x", "", 401)
	asks("/a/x", "bob", 200)
	g.mustReload(g.text(one, listening("", fmt.Sprintf(", client_ca: %q", filepath.Join(dir, "ca.pem")))))
	asks("/a/x", "bob", 0)
	shown.Certificates = []tls.Certificate{authority.CA.IssueLeaf(dnstest.Leaf{User: "carol", Client: true})}
	asks("/a/x", "", 200)
	asks("/a/x", "bob", 401) // another than the certificate's
	if text := g.log.String(); strings.Contains(text, "s3cret") || strings.Contains(text, "wt1.") {
		t.Errorf("the log shows a secret:\n%s", text)
	}
}
