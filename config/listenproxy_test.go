package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/gate"
)

// doorFiles writes a certificate, a file of users and a key for tokens into a directory of its own.
func doorFiles(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	keyPair(t, dir)
	line, err := gate.NewLine("alice", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"users": line + "\n", "tokens": strings.Repeat("k", gate.MinKey)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func loadIn(t *testing.T, dir, text string) (*Config, error) {
	t.Helper()
	file := filepath.Join(dir, "watertight.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file, Overrides{})
}

func TestListenProxy_IsReadWithItsCertificateAndItsUsers(t *testing.T) {
	dir := doorFiles(t)
	c, err := loadIn(t, dir, "listen:\n  proxy:\n"+
		"    - {address: 0.0.0.0:8443, tls: {cert: cert.pem, key: key.pem}, users: users, token_key: tokens, proxy_protocol: [10.0.0.0/8, 192.0.2.1]}\n"+
		"    - {address: 0.0.0.0:8444, tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem}, h3: true}\n"+
		"    - 127.0.0.1:8080\n")
	if err != nil {
		t.Fatal(err)
	}
	p := c.Listen.Proxy
	if len(c.Warnings) > 0 || len(p) != 3 {
		t.Fatalf("%+v, %v", p, c.Warnings)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if l := p[0]; l.Certificate == nil || l.CertFile != in("cert.pem") || l.KeyFile != in("key.pem") || l.ClientCAs != nil ||
		l.UsersFile != in("users") || !l.Users.Has("alice") || l.TokenKeyFile != in("tokens") || len(l.tokenKey) != gate.MinKey || fmt.Sprint(l.Balancers) != "[10.0.0.0/8 192.0.2.1/32]" {
		t.Errorf("%+v", l)
	}
	if l := p[1]; l.Certificate == nil || l.ClientCAs == nil || l.ClientCAFile != in("cert.pem") || l.Users != nil || !l.H3 {
		t.Errorf("%+v", l)
	}
	if l := p[2]; l.Certificate != nil || l.Users != nil {
		t.Errorf("%+v", l)
	}
	if c.Listen.Plain() != 2 {
		t.Errorf("proxy variables would name listener %d", c.Listen.Plain())
	}
	shown, err := c.Show()
	if err != nil || strings.Contains(string(shown), "argon2id") || strings.Contains(string(shown), "kkkk") {
		t.Fatalf("%v\n%s", err, shown)
	}
	again, err := Parse(in("again.yaml"), shown, ThisHost())
	if err != nil || again.Listen.Proxy[0].UsersFile != in("users") || again.Listen.Proxy[0].TokenKeyFile != in("tokens") || len(again.Listen.Proxy[0].Balancers) != 2 || again.Listen.Proxy[1].ClientCAFile != in("cert.pem") || !again.Listen.Proxy[1].H3 {
		t.Errorf("what is shown is read as %+v, %v\n%s", again, err, shown)
	}
}

func TestListenProxy_BeyondLoopbackNeedsTLSAndProof(t *testing.T) {
	dir := doorFiles(t)
	for text, sentence := range map[string]string{
		"{address: 0.0.0.0:1, users: users}":                        "passwords of its users would travel in clear",
		"{address: 0.0.0.0:1, tls: {cert: cert.pem, key: key.pem}}": "no users",
		"0.0.0.0:1": "no TLS and no users",
		"{address: 127.0.0.1:1, token_key: tokens}":                                                  "token_key",
		"{address: 127.0.0.1:1, tls: {cert: cert.pem}}":                                              "no certificate",
		"{address: 127.0.0.1:1, tls: {cert: cert.pem, key: key.pem, client_ca: users}}":              "authorities of clients",
		"{address: 127.0.0.1:1, users: key.pem}":                                                     "line 1",
		"{address: 127.0.0.1:1, proxy_protocol: 127.0.0.1}":                                          "its balancers bring clients from elsewhere",
		"{address: 127.0.0.1:1, users: users, token_key: gone}":                                      "gone",
		"{address: 0.0.0.0:1, tls: {cert: cert.pem, key: key.pem}, allow_insecure: true, users: no}": "no cannot be read",
	} {
		_, err := loadIn(t, dir, "listen:\n  proxy: "+text+"\n")
		if err == nil || !strings.Contains(err.Error(), sentence) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, warned := range map[string]bool{
		"{address: 0.0.0.0:1, users: users, allow_insecure: true}":                                      true,
		"{address: 0.0.0.0:1, tls: {cert: cert.pem, key: key.pem}, users: users, allow_insecure: true}": true,
		"{address: 127.0.0.1:1, proxy_protocol: 127.0.0.1, allow_insecure: true}":                       true,
		"{address: 127.0.0.1:1, proxy_protocol: 127.0.0.1, users: users}":                               false,
		"{address: 127.0.0.1:1, users: users}":                                                          false,
		"{address: 127.0.0.1:1, tls: {cert: cert.pem, key: key.pem}}":                                   false,
		"{address: 0.0.0.0:1, tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem}}":                false,
		"{address: 0.0.0.0:1, tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem}, users: users}":  false,
	} {
		c, err := loadIn(t, dir, "listen:\n  proxy: "+text+"\n")
		if err != nil || (len(c.Warnings) > 0) != warned {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestListenProxy_AFileOfUsersThatOthersReadIsRefused(t *testing.T) {
	dir := doorFiles(t)
	host := ThisHost()
	exposed := []string{"users", "tokens"}
	host.Exposed = func(path string) bool { return slices.Contains(exposed, filepath.Base(path)) }
	_, err := Parse(filepath.Join(dir, "c.yaml"), []byte("listen: {proxy: {address: 127.0.0.1:1, users: users, token_key: tokens}}"), host)
	if err == nil || strings.Count(err.Error(), "every user of this host may read or change") != 2 {
		t.Error(err)
	}
}
