package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	xacme "golang.org/x/crypto/acme"

	"watertight/name"
)

// Limits on what the authority may do.
const (
	maxAnswer  = 1 << 20 // octets
	askLimit   = 30 * time.Second
	maxAgain   = 3   // times that a request is repeated where the authority could not answer it
	maxNonces  = 20  // times that it is repeated with another nonce (RFC 8555, section 6.5)
	maxRequest = 600 // of one attempt
)

// account is what is kept of the account.
type account struct {
	Key   string `json:"key"` // PEM
	Email string `json:"email,omitempty"`
	Terms string `json:"terms,omitempty"` // that were accepted
}

// client makes the client of one attempt. Its connections are closed by done.
func client(s *Setting, key *ecdsa.PrivateKey) (c *xacme.Client, done func(), err error) {
	directory, err := url.Parse(s.Directory)
	if err != nil {
		return nil, nil, err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			t, err := name.Parse(address)
			if err != nil {
				return nil, err
			}
			return s.Dial(ctx, t)
		},
		TLSClientConfig:     &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: askLimit, ResponseHeaderTimeout: askLimit, IdleConnTimeout: askLimit,
		ForceAttemptHTTP2: true, MaxConnsPerHost: 2, MaxResponseHeaderBytes: 64 << 10,
	}
	return &xacme.Client{
		Key: key, DirectoryURL: s.Directory, UserAgent: "watertight",
		HTTPClient: &http.Client{
			Transport:     &within{next: transport, host: directory.Host},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryBackoff: again,
	}, transport.CloseIdleConnections, nil
}

// again is how long to wait before a request is repeated for the nth time; zero: it is not.
func again(n int, _ *http.Request, resp *http.Response) time.Duration {
	const soon = 50 * time.Millisecond
	switch {
	case resp != nil && resp.StatusCode == http.StatusTooManyRequests:
		return 0
	case resp != nil && resp.StatusCode/100 == 4 && n <= maxNonces: // of these, the client asks for bad nonces alone
		return time.Duration(n) * soon
	case n > maxAgain:
		return 0
	}
	return time.Duration(n) * time.Second
}

// within asks the host of the directory, over TLS, and nobody else: what the directory says is not a way to other hosts.
type within struct {
	next http.RoundTripper
	host string
	made atomic.Int64 // requests
}

// RoundTrip implements [http.RoundTripper].
func (w *within) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != w.host || r.URL.User != nil {
		return nil, errors.New("the authority's directory leads to another host, and that is not asked")
	}
	if w.made.Add(1) > maxRequest {
		return nil, errors.New("the authority does not come to an end")
	}
	resp, err := w.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}

// accountKey gives the key of the account, which is made and kept where there is none.
func accountKey(s *Setting) (*ecdsa.PrivateKey, *account, error) {
	text, err := s.Store.Read(accountFile(s))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key, text, err := newKey()
		if err != nil {
			return nil, nil, err
		}
		a := &account{Key: text}
		return key, a, a.save(s)
	case err != nil:
		return nil, nil, err
	}
	key, a, err := parseAccount(text)
	if err != nil {
		return nil, nil, fmt.Errorf("the key of the account, %s, cannot be used: %w", s.Store.Path(accountFile(s)), err)
	}
	return key, a, nil
}

func accountFile(s *Setting) string {
	sum := sha256.Sum256([]byte(s.Directory + "\n" + s.KeyID))
	return "acme-account-" + hex.EncodeToString(sum[:8])
}

func (a *account) save(s *Setting) error {
	text, err := json.Marshal(a)
	if err == nil {
		err = s.Store.Write(accountFile(s), text)
	}
	return err
}

// parseAccount reads what was kept of an account.
func parseAccount(text []byte) (*ecdsa.PrivateKey, *account, error) {
	var a account
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, nil, errors.New("it is no JSON of an account")
	}
	block, _ := pem.Decode([]byte(a.Key))
	if block == nil || block.Type != "EC PRIVATE KEY" {
		return nil, nil, errors.New("it holds no key")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	return key, &a, err
}

func newKey() (*ecdsa.PrivateKey, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), err
}

// order gets a certificate: PEM texts of its chain and its key.
func (m *Manager) order(ctx context.Context, s *Setting, names []string) (chain, key string, err error) {
	accountKey, a, err := accountKey(s)
	if err != nil {
		return "", "", err
	}
	c, done, err := client(s, accountKey)
	if err != nil {
		return "", "", err
	}
	defer done()
	if err := register(ctx, c, s, a); err != nil {
		return "", "", fmt.Errorf("the account: %w", err)
	}
	order, err := c.AuthorizeOrder(ctx, xacme.DomainIDs(names...))
	if err != nil {
		return "", "", fmt.Errorf("the order: %w", err)
	}
	if len(order.AuthzURLs) > MaxNames {
		return "", "", errors.New("the authority asks for more authorizations than there are names")
	}
	for _, at := range order.AuthzURLs {
		if err := m.prove(ctx, c, s, at, names); err != nil {
			return "", "", err
		}
	}
	if order, err = c.WaitOrder(ctx, order.URI); err != nil {
		return "", "", fmt.Errorf("the order: %w", err)
	}
	private, key, err := newKey()
	if err != nil {
		return "", "", err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, private)
	if err != nil {
		return "", "", err
	}
	ders, _, err := c.CreateCertFromOrder(ctx, order, request, true)
	if err != nil {
		return "", "", fmt.Errorf("the certificate: %w", err)
	}
	for _, der := range ders {
		chain += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return chain, key, nil
}

// register makes the account, or finds the one of the key. The user accepted the terms in the configuration.
func register(ctx context.Context, c *xacme.Client, s *Setting, a *account) error {
	want := &xacme.Account{}
	if s.Email != "" {
		want.Contact = []string{"mailto:" + s.Email}
	}
	if s.KeyID != "" {
		want.ExternalAccountBinding = &xacme.ExternalAccountBinding{KID: s.KeyID, Key: s.MAC}
	}
	terms := ""
	_, err := c.Register(ctx, want, func(at string) bool { terms = at; return true })
	if errors.Is(err, xacme.ErrAccountAlreadyExists) {
		if err = nil; a.Email != s.Email {
			_, err = c.UpdateReg(ctx, want)
		}
	}
	if err != nil {
		return err
	}
	if a.Email == s.Email && a.Terms == terms {
		return nil
	}
	a.Email, a.Terms = s.Email, terms
	return a.save(s)
}

// prove answers the validation of one name.
func (m *Manager) prove(ctx context.Context, c *xacme.Client, s *Setting, at string, names []string) error {
	z, err := c.GetAuthorization(ctx, at)
	if err != nil {
		return fmt.Errorf("an authorization: %w", err)
	}
	if z.Status == xacme.StatusValid {
		return nil
	}
	host, kind := z.Identifier.Value, "tls-alpn-01"
	switch {
	case s.Publish != nil:
		kind = "dns-01"
	case s.HTTP:
		kind = "http-01"
	}
	asked := host
	if z.Wildcard { // RFC 8555, section 7.1.4
		asked = "*." + host
	}
	if !slices.Contains(names, asked) {
		return errors.New("the authority wants proof for a name that was not asked for")
	}
	var chosen *xacme.Challenge
	for _, one := range z.Challenges {
		if one.Type == kind {
			chosen = one
		}
	}
	if chosen == nil {
		return fmt.Errorf("the authority does not validate %s by %s", host, kind)
	}
	done, err := m.answer(c, s, chosen, host)
	if err != nil {
		return err
	}
	defer done()
	if _, err := c.Accept(ctx, chosen); err != nil {
		return fmt.Errorf("the validation of %s: %w", host, err)
	}
	if _, err := c.WaitAuthorization(ctx, z.URI); err != nil {
		return fmt.Errorf("the validation of %s by %s: %w", host, kind, err)
	}
	return nil
}

// challengeLabel is before the name whose TXT record answers a validation (RFC 8555, section 8.4).
const challengeLabel = "_acme-challenge."

// answer has a validation answered until done is called.
func (m *Manager) answer(c *xacme.Client, s *Setting, ch *xacme.Challenge, host string) (done func(), err error) {
	switch ch.Type {
	case "dns-01":
		text, err := c.DNS01ChallengeRecord(ch.Token)
		if err != nil {
			return nil, err
		}
		return s.Publish(challengeLabel+host, text)
	case "http-01":
		text, err := c.HTTP01ChallengeResponse(ch.Token)
		if err != nil {
			return nil, err
		}
		return m.answers.forPath(c.HTTP01ChallengePath(ch.Token), text), nil
	}
	cert, err := c.TLSALPN01ChallengeCert(ch.Token, host)
	if err != nil {
		return nil, err
	}
	return m.answers.forName(host, &cert), nil
}

// limitOf is for how long the authority said not to come again; zero where it did not.
func limitOf(err error) time.Duration {
	var e *xacme.Error
	if !errors.As(err, &e) {
		return 0
	}
	if wait, ok := xacme.RateLimit(e); ok {
		return max(wait, floor)
	}
	return 0
}
