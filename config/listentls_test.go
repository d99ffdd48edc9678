package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keyPair writes a certificate and its key into dir.
func keyPair(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"dns.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListenDNS_OverTLSShowsTheCertificateOfItsFiles(t *testing.T) {
	dir := t.TempDir()
	keyPair(t, dir)
	file := filepath.Join(dir, "watertight.yaml")
	text := "listen:\n  dns:\n" +
		"    - {address: \"tls://127.0.0.1:853\", tls: {cert: cert.pem, key: key.pem}}\n" +
		"    - {address: \"https://[::1]:8443/dns-query\", tls: {cert: cert.pem, key: key.pem}}\n" +
		"    - {address: \"https://127.0.0.1:8444\", tls: {cert: cert.pem, key: key.pem}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range c.Listen.DNS {
		got = append(got, l.Text())
		if l.Certificate == nil || len(l.Certificate.Certificate) != 1 || l.CertFile != filepath.Join(dir, "cert.pem") || l.KeyFile != filepath.Join(dir, "key.pem") {
			t.Errorf("%+v", l)
		}
	}
	if text := strings.Join(got, " "); text != "tls://127.0.0.1:853 https://[::1]:8443/dns-query https://127.0.0.1:8444/dns-query" {
		t.Error(text)
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(filepath.Join(dir, "again.yaml"), shown, ThisHost())
	if err != nil || len(again.Listen.DNS) != 3 || again.Listen.DNS[2].KeyFile != filepath.Join(dir, "key.pem") {
		t.Errorf("what is shown is read as %+v, %v\n%s", again, err, shown)
	}
}

func TestListenDNS_OverTLSNeedsACertificateThatCanBeUsed(t *testing.T) {
	wantOne(t, bad(t, "listen:\n  dns: tls://127.0.0.1:853"), 2, 8, "no certificate to show", "tls: {cert: FILE, key: FILE}")
	wantOne(t, bad(t, "listen:\n  dns: {address: 'tls://127.0.0.1:853', tls: {cert: c.pem}}"), 2, 18, "no certificate to show")
	wantOne(t, bad(t, "listen:\n  dns: {address: 'tls://127.0.0.1:853', tls: {cert: c.pem, key: k.pem}}"), 2, 46, "the file c.pem cannot be read")
	wantOne(t, bad(t, "listen:\n  dns: {address: '127.0.0.1:853', tls: {cert: c.pem, key: k.pem}}"), 2, 40, "would not be used")
	wantOne(t, bad(t, "listen:\n  dns: quic://127.0.0.1:853"), 2, 8, "no address to listen on")
	wantOne(t, bad(t, "listen:\n  dns: https://127.0.0.1:853/other"), 2, 8, "no address to listen on")
	wantOne(t, bad(t, "listen:\n  proxy: tls://127.0.0.1:853"), 2, 10, "no address to listen on")
}
