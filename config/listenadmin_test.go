package config

import (
	"path/filepath"
	"strings"
	"testing"

	"watertight/gate"
)

func TestListenAdmin_IsReadWithItsCertificateAndItsUsers(t *testing.T) {
	dir := doorFiles(t)
	c, err := loadIn(t, dir, "listen:\n  admin:\n"+
		"    - {address: 0.0.0.0:9443, tls: {cert: cert.pem, key: key.pem}, users: users, token_key: tokens}\n"+
		"    - {address: 0.0.0.0:9444, tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem}}\n"+
		"    - 127.0.0.1:9053\n")
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	check := func(c *Config) {
		t.Helper()
		a := c.Listen.Admin
		if len(c.Warnings) > 0 || len(a) != 3 {
			t.Fatalf("%+v, %v", a, c.Warnings)
		}
		if l := a[0]; l.Certificate == nil || l.CertFile != in("cert.pem") || l.KeyFile != in("key.pem") || l.ClientCAs != nil ||
			l.UsersFile != in("users") || !l.Users.Has("alice") || l.TokenKeyFile != in("tokens") || len(l.tokenKey) != gate.MinKey {
			t.Errorf("%+v", l)
		}
		if l := a[1]; l.Certificate == nil || l.ClientCAs == nil || l.ClientCAFile != in("cert.pem") || l.Users != nil {
			t.Errorf("%+v", l)
		}
		if l := a[2]; l.Speaks() || l.Users != nil {
			t.Errorf("%+v", l)
		}
	}
	check(c)
	shown, err := c.Show()
	if err != nil || strings.Contains(string(shown), "argon2id") || strings.Contains(string(shown), "kkkk") {
		t.Fatalf("%v\n%s", err, shown)
	}
	again, err := Parse(in("again.yaml"), shown, ThisHost())
	if err != nil {
		t.Fatalf("%v\n%s", err, shown)
	}
	check(again)
}

func TestListenAdmin_BeyondLoopbackNeedsTLSAndProof(t *testing.T) {
	dir := doorFiles(t)
	for text, sentence := range map[string]string{
		"0.0.0.0:1":                          "read what this proxy does: it has no TLS and no users",
		"{address: 0.0.0.0:1, users: users}": "passwords of its users would travel in clear",
		"{address: 0.0.0.0:1, tls: {cert: cert.pem, key: key.pem}}": "no users",
		"{address: 127.0.0.1:1, token_key: tokens}":                 "token_key",
		"{address: 127.0.0.1:1, tls: {key: key.pem}}":               "no certificate",
		"{users: users}": "no `address`",
	} {
		if _, err := loadIn(t, dir, "listen:\n  admin: "+text+"\n"); err == nil || !strings.Contains(err.Error(), sentence) {
			t.Errorf("%s: %v", text, err)
		}
	}
	c, err := loadIn(t, dir, "listen:\n  admin: {address: 127.0.0.1:9053, users: users}\n")
	if err != nil || len(c.Warnings) > 0 {
		t.Errorf("on loopback: %v, %v", c, err)
	}
}
