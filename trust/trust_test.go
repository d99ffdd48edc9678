package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair writes a certificate and its key, and gives their paths and the key in PKCS #8.
func pair(t *testing.T) (cert, keyFile string, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, block *pem.Block) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", &pem.Block{Type: "CERTIFICATE", Bytes: der}), write("key.pem", &pem.Block{Type: "PRIVATE KEY", Bytes: key}), key
}

func TestAServerPrintsWithoutTheKeyThatItIsShown(t *testing.T) {
	certFile, keyFile, raw := pair(t)
	cert, key, err := ReadPair(certFile, keyFile)
	if err != nil || string(key) != string(raw) || len(cert) != 1 {
		t.Fatalf("%d certificates, %v", len(cert), err)
	}
	s := Server{Name: "a.example", Cert: cert, Key: key}
	printed := fmt.Sprintf("%v %+v %#v %x %d %s", s, s, s, s, s, &s)
	encoded, err := json.Marshal(map[string]any{"s": s, "list": []Server{s}})
	if err != nil {
		t.Fatal(err)
	}
	printed += string(encoded)
	for _, form := range []string{string(key), fmt.Sprintf("%x", key), fmt.Sprint(key), base64.StdEncoding.EncodeToString(key)} {
		if strings.Contains(printed, form) {
			t.Errorf("the key is in %s", printed)
		}
	}
}

func TestAClientWithoutWhatItNeedsIsAnError(t *testing.T) {
	certFile, keyFile, _ := pair(t)
	cert, key, err := ReadPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for title, s := range map[string]Server{
		"no name":                     {},
		"a certificate without a key": {Name: "a.example", Cert: cert},
		"a key without a certificate": {Name: "a.example", Key: key},
		"a key that is none":          {Name: "a.example", Cert: cert, Key: []byte("key")},
		"an authority that is none":   {Name: "a.example", CA: [][]byte{[]byte("ca")}},
	} {
		if _, err := s.Client(time.Now, nil); err == nil {
			t.Errorf("%s: a client was made", title)
		}
	}
	if _, err := (Server{Name: "a.example"}).Client(nil, nil); err == nil {
		t.Error("no clock: a client was made")
	}
	if c, err := (Server{Name: "a.example", Cert: cert, Key: key}).Client(time.Now, nil, "h2"); err != nil || c.Config().MinVersion != tls.VersionTLS13 || len(c.Config().Certificates) != 1 {
		t.Errorf("got %v", err)
	}
}

func TestFilesThatAreWrongAreNamedByTheirField(t *testing.T) {
	certFile, keyFile, _ := pair(t)
	otherCert, _, _ := pair(t)
	for _, tt := range []struct{ cert, key, field string }{
		{"none.pem", keyFile, "cert"},
		{certFile, "none.pem", "key"},
		{keyFile, keyFile, "cert"},
		{otherCert, keyFile, "cert"},
	} {
		_, _, err := ReadPair(tt.cert, tt.key)
		var f *FieldError
		if !errors.As(err, &f) || f.Field != tt.field {
			t.Errorf("%s and %s: %v", tt.cert, tt.key, err)
		}
	}
	if _, err := ReadCA(keyFile); err == nil {
		t.Error("a key is taken for an authority")
	}
}

func TestWhatIsWrongWithAHandshakeIsReadFromItsError(t *testing.T) {
	alert := func(text string) error { return &net.OpError{Op: "remote error", Err: errors.New("tls: " + text)} }
	for _, tt := range []struct {
		err  error
		want Flaw
	}{
		{fmt.Errorf("x: %w", ErrPin), WrongPin},
		{&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}}, WrongName},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, Authority},
		{&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, Validity},
		{tls.RecordHeaderError{}, NotTLS},
		{alert("no application protocol"), Protocol},
		{alert("protocol version not supported"), Version},
		{alert("certificate required"), Unproved},
		{alert("unknown certificate authority"), Unproved},
		{alert("internal error"), Unknown},
		{io.EOF, Ended},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, Ended},
		{nil, Unknown},
	} {
		if got := FlawOf(tt.err); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.err, got, tt.want)
		}
	}
	if Refused(errors.New("tls: bad certificate")) {
		t.Error("our own judgement is taken for the other side's")
	}
}
