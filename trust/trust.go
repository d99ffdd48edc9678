// Package trust is who a server over TLS has to be, and whether it proved so: TLS 1.3 or later, a certificate for its name
// by an authority that is trusted, and one of its pinned keys where there are any.
//
// It promises that nothing is taken for proved that was not checked on that very connection, a resumed one too, and that
// what it prints holds no key. It never dials, and it never accepts less because more could not be had.
package trust

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"watertight/clock"
)

// ErrPin is returned by a handshake with a server that proved another key than those that are pinned.
var ErrPin = errors.New("no certificate of the chain has a pinned key")

// Server is who a server has to be. Two that are deeply equal are interchangeable. It prints without its key.
type Server struct {
	Name string     // the name, or the address as text, that the certificate has to cover
	Pins [][32]byte // SHA-256 of a SubjectPublicKeyInfo in the verified chain; any of them will do (RFC 7858, section 4.2)
	CA   [][]byte   // certificates in DER that alone are trusted; none: those that the system trusts
	// Cert is what is shown to a server that asks who we are: certificates in DER, our own first; and Key its key, in
	// PKCS #8. Both or neither.
	Cert [][]byte
	Key  []byte
}

// IsZero says that nothing has to be proved: there is no TLS.
func (s Server) IsZero() bool {
	return s.Name == "" && len(s.Pins) == 0 && len(s.CA) == 0 && len(s.Cert) == 0 && len(s.Key) == 0
}

// String gives the name.
func (s Server) String() string { return s.Name }

// Format prints String for every verb: %v would show the key.
func (s Server) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.Name) }

// MarshalText gives String, so that no encoder sees the key.
func (s Server) MarshalText() ([]byte, error) { return []byte(s.Name), nil }

// Client makes authenticated connections to one server. Its TLS sessions are its own: nothing else ever sees them.
type Client struct {
	server  Server
	config  *tls.Config // without a session cache
	tickets *Tickets
	now     func() time.Time
	floor   *clock.Floor
}

// Client makes a client of the server that speaks one of some protocols (RFC 7301), the best first; with none it names
// none. Certificates are checked by the clock now; those that are good raise floor, which may be nil.
func (s Server) Client(now func() time.Time, floor *clock.Floor, protocols ...string) (*Client, error) {
	switch {
	case s.Name == "":
		return nil, errors.New("no name for its certificate to cover")
	case now == nil:
		return nil, errors.New("certificates are checked only with a clock")
	}
	roots, err := Roots(s.CA)
	if err != nil {
		return nil, err
	}
	c := &Client{server: s, tickets: NewTickets(), now: now, floor: floor}
	c.config = &tls.Config{
		MinVersion:       tls.VersionTLS13,
		ServerName:       s.Name,
		RootCAs:          roots,
		NextProtos:       protocols,
		VerifyConnection: c.verify,
		Time:             now,
	}
	if len(s.Cert) == 0 && len(s.Key) == 0 {
		return c, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil || len(s.Cert) == 0 {
		return nil, errors.New("a client certificate without its key, or a key that cannot be read")
	}
	c.config.Certificates = []tls.Certificate{{Certificate: s.Cert, PrivateKey: key}}
	return c, nil
}

// Config gives the configuration of one new connection.
func (c *Client) Config() *tls.Config {
	config := c.config.Clone()
	config.ClientSessionCache = c.tickets.Current()
	return config
}

// CheckClock refuses a clock that is behind what is known of the time: by it, a certificate that has expired would be good
// again.
func (c *Client) CheckClock() error { return c.floor.Check(c.now()) }

// Forget drops the TLS sessions: the next connection is linked to none before it.
func (c *Client) Forget() { c.tickets.Forget() }

// verify checks the pins. crypto/tls calls it on every connection, resumed ones too, after the chain and the name are
// verified.
func (c *Client) verify(cs tls.ConnectionState) error {
	if len(c.server.Pins) > 0 && !Pinned(c.server.Pins, cs.VerifiedChains) {
		return ErrPin
	}
	if len(cs.VerifiedChains) > 0 {
		c.floor.Raise(cs.VerifiedChains[0][0].NotBefore, c.now()) // its authority signed it then or later
	}
	return nil
}

// Pinned says whether a certificate of a verified chain has one of the pinned keys (RFC 7858, section 4.2).
func Pinned(pins [][32]byte, chains [][]*x509.Certificate) bool {
	for _, chain := range chains {
		for _, c := range chain {
			if slices.Contains(pins, sha256.Sum256(c.RawSubjectPublicKeyInfo)) {
				return true
			}
		}
	}
	return false
}

// Roots gives the authorities that alone are trusted, each in DER, or nil for those of the system: what
// [crypto/tls.Config] means by RootCAs.
func Roots(list [][]byte) (*x509.CertPool, error) {
	if len(list) == 0 {
		return nil, nil
	}
	p := x509.NewCertPool()
	for _, der := range list {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.Join(errors.New("a CA certificate that cannot be read"), err)
		}
		p.AddCert(c)
	}
	return p, nil
}

// Tickets are the TLS sessions of one client: nothing else ever sees them. Its methods may be called from many goroutines.
type Tickets struct {
	mu  sync.Mutex
	lru tls.ClientSessionCache
}

// NewTickets makes an empty collection.
func NewTickets() *Tickets { return &Tickets{lru: tls.NewLRUClientSessionCache(4)} }

// Current is where a new connection finds its session and leaves others: one that was made before Forget, and gets a
// ticket after it, leaves that where nobody looks any more.
func (t *Tickets) Current() tls.ClientSessionCache {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru
}

// Forget drops them.
func (t *Tickets) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lru = tls.NewLRUClientSessionCache(4)
}
