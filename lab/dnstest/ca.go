package dnstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net/netip"
	"sync/atomic"
	"time"
)

// Validity of what a CA issues unless told otherwise: it holds the fake clock of testing/synctest, which starts in
// the year 2000, and any clock of today.
var (
	notBefore = time.Date(1995, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2095, 1, 1, 0, 0, 0, 0, time.UTC)
)

// CA is a certificate authority that exists in memory.
type CA struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial atomic.Int64
}

// NewCA makes an authority with a key of its own. It panics where the machine has no randomness.
func NewCA() *CA {
	ca := &CA{key: newKey()}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Watertight test authority"},
		NotBefore: notBefore, NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	ca.serial.Store(1)
	ca.cert = sign(t, t, &ca.key.PublicKey, ca.key)
	return ca
}

// Leaf is what a certificate shall say.
type Leaf struct {
	Names     []string
	IPs       []netip.Addr
	NotBefore time.Time // zero: long ago
	NotAfter  time.Time // zero: far ahead
	Client    bool      // for a client of TLS and not for a server
	User      string    // the subject's common name; empty: one that is no user's
	Fetch     string    // a URL at which its issuer, and whether it was revoked, can be asked for; empty: none
}

// Issue makes a server certificate for names and addresses.
func (ca *CA) Issue(names []string, ips []netip.Addr) tls.Certificate {
	return ca.IssueLeaf(Leaf{Names: names, IPs: ips})
}

// IssueLeaf makes a certificate for a server, or for a client.
func (ca *CA) IssueLeaf(l Leaf) tls.Certificate {
	t := &x509.Certificate{
		SerialNumber: big.NewInt(ca.serial.Add(1)), Subject: pkix.Name{CommonName: "Watertight test server"},
		NotBefore: notBefore, NotAfter: notAfter, DNSNames: l.Names,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if l.User != "" {
		t.Subject.CommonName = l.User
	}
	if l.Fetch != "" {
		t.IssuingCertificateURL, t.OCSPServer, t.CRLDistributionPoints = []string{l.Fetch}, []string{l.Fetch}, []string{l.Fetch}
	}
	if l.Client {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, ip := range l.IPs {
		t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
	}
	if !l.NotBefore.IsZero() {
		t.NotBefore = l.NotBefore
	}
	if !l.NotAfter.IsZero() {
		t.NotAfter = l.NotAfter
	}
	key := newKey()
	cert := sign(t, ca.cert, &key.PublicKey, ca.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: cert}
}

// PEM gives the authority's certificate, as a `ca:` file holds it.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// PEMPair gives a server certificate with its chain, and its key, as the files of a server hold them.
func PEMPair(c tls.Certificate) (chain, key []byte) {
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		panic(err)
	}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Pool gives a pool in which the authority is alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Pin gives the pin of the authority's key: base64 of the SHA-256 of the SubjectPublicKeyInfo.
func (ca *CA) Pin() string { return pin(ca.cert) }

// Pin gives the pin of a server certificate's key.
func Pin(c tls.Certificate) string { return pin(c.Leaf) }

func pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func sign(t, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}
