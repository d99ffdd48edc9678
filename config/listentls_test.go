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
		"    - {address: \"https://127.0.0.1:8444\", tls: {cert: cert.pem, key: key.pem}}\n" +
		"    - {address: \"quic://127.0.0.1:853\", tls: {cert: cert.pem, key: key.pem}}\n"
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
	if text := strings.Join(got, " "); text != "tls://127.0.0.1:853 https://[::1]:8443/dns-query https://127.0.0.1:8444/dns-query quic://127.0.0.1:853" {
		t.Error(text)
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(filepath.Join(dir, "again.yaml"), shown, ThisHost())
	if err != nil || len(again.Listen.DNS) != 4 || again.Listen.DNS[2].KeyFile != filepath.Join(dir, "key.pem") {
		t.Errorf("what is shown is read as %+v, %v\n%s", again, err, shown)
	}
}

func TestListenDNS_OverTLSNeedsACertificateThatCanBeUsed(t *testing.T) {
	wantOne(t, bad(t, "listen:\n  dns: tls://127.0.0.1:853"), 2, 8, "no certificate to show", "tls: {cert: FILE, key: FILE}")
	wantOne(t, bad(t, "listen:\n  dns: {address: 'tls://127.0.0.1:853', tls: {cert: c.pem}}"), 2, 18, "no certificate to show")
	wantOne(t, bad(t, "listen:\n  dns: {address: 'tls://127.0.0.1:853', tls: {cert: c.pem, key: k.pem}}"), 2, 46, "the file c.pem cannot be read")
	wantOne(t, bad(t, "listen:\n  dns: {address: '127.0.0.1:853', tls: {cert: c.pem, key: k.pem}}"), 2, 40, "would not be used")
	wantOne(t, bad(t, "listen:\n  dns: quic://127.0.0.1:853"), 2, 8, "no certificate to show")
	wantOne(t, bad(t, "listen:\n  dns: quic://127.0.0.1:853/dns-query"), 2, 8, "no address to listen on", "tls://IP:PORT, quic://IP:PORT")
	wantOne(t, bad(t, "listen:\n  dns: https://127.0.0.1:853/other"), 2, 8, "no address to listen on", "https://IP:PORT/dns-query")
	wantOne(t, bad(t, "listen:\n  dns: h3://127.0.0.1:853/dns-query"), 2, 8, "no address to listen on", "HTTP/3")
	wantOne(t, bad(t, "listen:\n  dns: udp://127.0.0.1:53"), 2, 8, "no address to listen on", "IP:PORT for UDP and TCP")
	wantOne(t, bad(t, "listen:\n  dns: tls://door.example:853"), 2, 8, "no address to listen on", "tls://IP:PORT")
	wantOne(t, bad(t, "listen:\n  proxy: tls://127.0.0.1:853"), 2, 10, "no address to listen on")
}

func TestListenDNS_WhereClientsShowCertificatesItMayBeReachedFromAnywhere(t *testing.T) {
	dir := t.TempDir()
	keyPair(t, dir)
	load := func(listener string) (*Config, error) {
		return Parse(filepath.Join(dir, "watertight.yaml"), []byte("listen:\n  dns:\n    - "+listener+"\n"), ThisHost())
	}
	for _, scheme := range []string{"tls", "quic", "https"} {
		c, err := load("{address: \"" + scheme + "://0.0.0.0:853\", tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem}}")
		if err != nil || len(c.Warnings) != 0 {
			t.Fatalf("%s: %v, %v", scheme, err, c)
		}
		one := c.Listen.DNS[0]
		if one.AllowInsecure || one.ClientCAs == nil || one.ClientCAFile != filepath.Join(dir, "cert.pem") {
			t.Errorf("%+v", one)
		}
		shown, err := c.Show()
		if err != nil || !strings.Contains(string(shown), "client_ca: "+filepath.Join(dir, "cert.pem")) {
			t.Errorf("%v\n%s", err, shown)
		}
		if again, err := Parse(filepath.Join(dir, "again.yaml"), shown, ThisHost()); err != nil || !again.Listen.DNS[0].ClientCAs.Equal(one.ClientCAs) {
			t.Errorf("what is shown is read as %+v, %v", again, err)
		}
		if _, err := load("{address: \"" + scheme + "://0.0.0.0:853\", tls: {cert: cert.pem, key: key.pem}}"); err == nil || !strings.Contains(err.Error(), "client_ca: FILE") {
			t.Errorf("%s without client_ca: %v", scheme, err)
		}
		c, err = load("{address: \"" + scheme + "://0.0.0.0:853\", tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem}, allow_insecure: true}")
		if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].What, "changes nothing") {
			t.Errorf("with a word too many: %v, %v", err, c)
		}
		c, err = load("{address: \"" + scheme + "://0.0.0.0:853\", tls: {cert: cert.pem, key: key.pem}, allow_insecure: true}")
		if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].What, "private network") {
			t.Errorf("with the word in place of certificates: %v, %v", err, c)
		}
	}
	for file, want := range map[string]string{"key.pem": "something else than certificates", "absent.pem": "cannot be read", "watertight.yaml": "or none"} {
		if file == "watertight.yaml" {
			if err := os.WriteFile(filepath.Join(dir, file), []byte("listen: {}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := load("{address: \"tls://127.0.0.1:853\", tls: {cert: cert.pem, key: key.pem, client_ca: " + file + "}}")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
	wantOne(t, bad(t, "listen:\n  dns: {address: '127.0.0.1:853', tls: {client_ca: c.pem}}"), 2, 40, "would not be used")
	wantOne(t, bad(t, "listen:\n  dns: {address: 'tls://127.0.0.1:853', tls: {client_ca: c.pem}}"), 2, 18, "no certificate to show")
}

func TestListenDNS_OneOfTCPAndOneOfUDPShareAPort(t *testing.T) {
	dir := t.TempDir()
	keyPair(t, dir)
	const files = ", tls: {cert: cert.pem, key: key.pem}}"
	for listeners, ok := range map[string]bool{
		`{address: "tls://127.0.0.1:853"` + files + `, {address: "quic://127.0.0.1:853"` + files:   true,
		`{address: "https://127.0.0.1:853"` + files + `, {address: "quic://127.0.0.1:853"` + files: false,
		`{address: "https://127.0.0.1:853"` + files + `, {address: "tls://127.0.0.1:853"` + files:  false,
		`127.0.0.1:853, {address: "quic://127.0.0.1:853"` + files:                                  false,
		`{address: "quic://127.0.0.1:8080"` + files:                                                true, // as the proxy, of TCP
		`{address: "tls://127.0.0.1:8080"` + files:                                                 false,
	} {
		_, err := Parse(filepath.Join(dir, "watertight.yaml"), []byte("listen: {proxy: 127.0.0.1:8080, dns: ["+listeners+"]}"), ThisHost())
		if ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "taken already") {
			t.Errorf("%s: %v", listeners, err)
		}
	}
}

func TestDNS_TellsOfItselfWhatIsWrittenAndNoMore(t *testing.T) {
	const text = "listen: {dns: 127.0.0.1:5353}\ndns: {id_server: the one in the cellar, version_bind: \"${env:VERSION}\"}\n"
	host := ThisHost()
	host.Getenv = func(string) (string, bool) { return "3", true }
	c, err := Parse("watertight.yaml", []byte(text), host)
	if err != nil || c.DNS != (DNS{"the one in the cellar", "3"}) || len(c.Warnings) != 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if shown, err := c.Show(); err != nil || !strings.Contains(string(shown), "dns:\n  id_server: \"the one in the cellar\"\n  version_bind: \"${env:VERSION}\"\n") {
		t.Errorf("%v\n%s", err, shown)
	}
	wantOne(t, bad(t, "listen: {dns: 127.0.0.1:5353}\ndns: {id_server: "+strings.Repeat("x", 256)+"}"), 2, 18, "256 octets")
	c, err = Parse("watertight.yaml", []byte("dns: {id_server: x}"), host)
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].What, "`listen.dns` is not written") {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = c.Override(Overrides{DNS: []string{"127.0.0.1:5353"}}); err != nil || len(c.Warnings) != 0 {
		t.Errorf("with --dns: %+v, %v", c, err)
	}
}
