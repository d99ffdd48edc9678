// Package acmetest is an authority that speaks ACME (RFC 8555), for tests: as much of it as a client needs, with the
// faults that a test asks for. It looks no name up: the test says where a name is.
package acmetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Authority signs certificates for who can answer for their names.
type Authority struct {
	// Validate says whether a challenge of a kind, tls-alpn-01, http-01 or dns-01, is answered for a name. answer is the key
	// authorization (RFC 8555, section 8.1).
	Validate func(kind, name, token, answer string) error
	// Life is how long a certificate is good. Zero means 90 days.
	Life time.Duration
	// Refuse, unless nil, answers a request in place of the authority where it gives true.
	Refuse func(w http.ResponseWriter, r *http.Request) bool
	// Elsewhere, unless empty, is the host that the directory leads to.
	Elsewhere string

	mu       sync.Mutex
	key      *ecdsa.PrivateKey
	cert     *x509.Certificate
	serial   int64
	accounts map[string]string // of a key's thumbprint
	contacts []string          // of the last account
	bound    string            // to which external account it was
	orders   []*order
	nonces   map[string]bool
	nonce    int
	begun    []time.Time // when orders were
}

type order struct {
	names  []string
	valid  map[string]bool
	failed map[string]string
	chain  []byte
}

// New makes an authority with a key of its own.
func New() *Authority {
	a := &Authority{accounts: map[string]string{}, nonces: map[string]bool{}}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, a.key.Public(), a.key)
	if err != nil {
		panic(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	return a
}

// Pool trusts the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Begun gives when orders were made.
func (a *Authority) Begun() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]time.Time(nil), a.begun...)
}

// Account gives the contacts of the last account that was made or changed, to which external account it is bound, and how
// many there are.
func (a *Authority) Account() (contacts []string, bound string, all int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.contacts, a.bound, len(a.accounts)
}

// signed is what a client sends (RFC 8555, section 6.2). Signatures are not checked.
type signed struct {
	Protected, Payload, Signature string
}

type head struct {
	URL, Nonce, Kid string
	Jwk             *struct{ Crv, Kty, X, Y string }
}

// ServeHTTP answers a client.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.Refuse != nil && a.Refuse(w, r) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nonce++
	nonce := fmt.Sprintf("nonce-%d", a.nonce)
	a.nonces[nonce] = true
	w.Header().Set("Replay-Nonce", nonce)
	base := "https://" + r.Host
	if r.Method != http.MethodPost {
		if r.URL.Path != "/dir" {
			return // a nonce
		}
		if a.Elsewhere != "" {
			base = "https://" + a.Elsewhere
		}
		reply(w, http.StatusOK, map[string]any{
			"newNonce": base + "/nonce", "newAccount": base + "/account", "newOrder": base + "/order",
			"meta": map[string]any{"termsOfService": base + "/terms"},
		})
		return
	}
	var s signed
	var h head
	if json.NewDecoder(r.Body).Decode(&s) != nil || part(s.Protected, &h) != nil || h.URL != base+r.URL.Path {
		refuse(w, http.StatusBadRequest, "malformed", "no request")
		return
	}
	if !a.nonces[h.Nonce] {
		refuse(w, http.StatusBadRequest, "badNonce", "that nonce was never given")
		return
	}
	delete(a.nonces, h.Nonce)
	a.answer(w, base, strings.Split(strings.Trim(r.URL.Path, "/"), "/"), s, h)
}

// answer answers a request, whose path is in parts. a.mu is held.
func (a *Authority) answer(w http.ResponseWriter, base string, path []string, s signed, h head) {
	if path[0] == "account" {
		a.account(w, base, s, h)
		return
	}
	if path[0] == "order" && len(path) == 1 {
		var p struct{ Identifiers []struct{ Value string } }
		_ = part(s.Payload, &p)
		o := &order{valid: map[string]bool{}, failed: map[string]string{}}
		for _, id := range p.Identifiers {
			o.names = append(o.names, id.Value)
		}
		a.orders = append(a.orders, o)
		a.begun = append(a.begun, time.Now())
		w.Header().Set("Location", fmt.Sprintf("%s/order/%d", base, len(a.orders)-1))
		reply(w, http.StatusCreated, a.orderOf(base, len(a.orders)-1))
		return
	}
	var i, j int
	if _, err := fmt.Sscan(strings.Join(path[1:], " "), &i, &j); err != nil && len(path) > 2 || i >= len(a.orders) {
		refuse(w, http.StatusNotFound, "malformed", "no such thing")
		return
	}
	o := a.orders[i]
	switch path[0] {
	case "order":
		reply(w, http.StatusOK, a.orderOf(base, i))
	case "authorization":
		reply(w, http.StatusOK, a.authorization(base, i, j))
	case "challenge":
		name := o.names[j]
		token := fmt.Sprintf("token-%d-%d", i, j)
		a.mu.Unlock() // the validation comes back to the client
		err := a.Validate(path[3], name, token, token+"."+a.accounts[h.Kid])
		a.mu.Lock()
		if o.valid[name] = err == nil; err != nil {
			o.failed[name] = err.Error()
		}
		reply(w, http.StatusOK, map[string]any{"type": path[3], "url": base + "/" + strings.Join(path, "/"), "status": "processing", "token": token})
	case "finalize":
		a.finalize(w, base, i, s)
	case "certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(o.chain)
	}
}

// account makes an account, finds the one of a key, or changes one.
func (a *Authority) account(w http.ResponseWriter, base string, s signed, h head) {
	var p struct {
		Contact                []string
		TermsOfServiceAgreed   bool
		ExternalAccountBinding *signed
	}
	_ = part(s.Payload, &p)
	kid, status := h.Kid, http.StatusOK
	if h.Jwk != nil {
		// RFC 7638, section 3.
		sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"%s","kty":"%s","x":"%s","y":"%s"}`, h.Jwk.Crv, h.Jwk.Kty, h.Jwk.X, h.Jwk.Y))
		thumb := base64.RawURLEncoding.EncodeToString(sum[:])
		kid = base + "/account/" + thumb
		if a.accounts[kid] == "" {
			status = http.StatusCreated
			if !p.TermsOfServiceAgreed {
				refuse(w, http.StatusForbidden, "userActionRequired", "the terms were not agreed to")
				return
			}
			if b := p.ExternalAccountBinding; b != nil {
				var outer head
				_ = part(b.Protected, &outer)
				a.bound = outer.Kid
			}
		}
		a.accounts[kid] = thumb
	}
	if h.Jwk == nil || status == http.StatusCreated {
		a.contacts = p.Contact
	}
	w.Header().Set("Location", kid)
	reply(w, status, map[string]any{"status": "valid", "contact": a.contacts})
}

func (a *Authority) orderOf(base string, i int) map[string]any {
	o := a.orders[i]
	m := map[string]any{"status": "pending", "finalize": fmt.Sprintf("%s/finalize/%d", base, i)}
	var at, ids []any
	good := 0
	for j, n := range o.names {
		at = append(at, fmt.Sprintf("%s/authorization/%d/%d", base, i, j))
		ids = append(ids, map[string]string{"type": "dns", "value": n})
		if o.valid[n] {
			good++
		}
	}
	m["authorizations"], m["identifiers"] = at, ids
	switch {
	case o.chain != nil:
		m["status"], m["certificate"] = "valid", fmt.Sprintf("%s/certificate/%d", base, i)
	case len(o.failed) > 0:
		m["status"] = "invalid"
	case good == len(o.names):
		m["status"] = "ready"
	}
	return m
}

func (a *Authority) authorization(base string, i, j int) map[string]any {
	o := a.orders[i]
	name, status := o.names[j], "pending"
	if o.valid[name] {
		status = "valid"
	}
	var challenges []any
	host, wildcard := strings.CutPrefix(name, "*.") // RFC 8555, section 7.1.4
	kinds := []string{"dns-01", "http-01", "tls-alpn-01"}
	if wildcard {
		kinds = kinds[:1]
	}
	for _, kind := range kinds {
		c := map[string]any{"type": kind, "url": fmt.Sprintf("%s/challenge/%d/%d/%s", base, i, j, kind), "status": status, "token": fmt.Sprintf("token-%d-%d", i, j)}
		if why := o.failed[name]; why != "" {
			status = "invalid"
			c["status"], c["error"] = status, map[string]any{"type": problem + "unauthorized", "detail": why, "status": 403}
		}
		challenges = append(challenges, c)
	}
	return map[string]any{"status": status, "identifier": map[string]string{"type": "dns", "value": host}, "wildcard": wildcard, "challenges": challenges}
}

// finalize signs a certificate for exactly the names of an order that is ready.
func (a *Authority) finalize(w http.ResponseWriter, base string, i int, s signed) {
	o := a.orders[i]
	var p struct{ CSR string }
	_ = part(s.Payload, &p)
	der, _ := base64.RawURLEncoding.DecodeString(p.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil || strings.Join(csr.DNSNames, " ") != strings.Join(o.names, " ") || a.orderOf(base, i)["status"] != "ready" {
		refuse(w, http.StatusForbidden, "orderNotReady", "not so")
		return
	}
	life := a.Life
	if life == 0 {
		life = 90 * 24 * time.Hour
	}
	a.serial++
	t := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial + 1), DNSNames: o.names, NotBefore: time.Now().Add(-time.Second), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, a.cert, csr.PublicKey, a.key)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "serverInternal", err.Error())
		return
	}
	for _, der := range [][]byte{cert, a.cert.Raw} {
		o.chain = append(o.chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	reply(w, http.StatusOK, a.orderOf(base, i))
}

// part reads one part of a signed message.
func part(s string, into any) error {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// problem begins the types of errors (RFC 8555, section 6.7).
const problem = "urn:ietf:params:acme:error:"

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, kind, detail string) {
	reply(w, status, map[string]any{"type": problem + kind, "detail": detail, "status": status})
}
