// Package acme gets certificates for the program's own listeners from an authority that speaks ACME (RFC 8555), and renews
// them before they end.
//
// It promises that it reaches the authority through the dial function that it is given and in no other way, and no host but
// that of the directory; that account key and certificates are kept before they are used; that a listener without a
// certificate shows none, and says why; and that the authority is never asked more often than once a minute for the same
// names, in this run and over all of them. It never makes a certificate that an authority did not sign, but for the one
// that answers a validation (RFC 8737), on a connection that carries nothing.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"watertight/name"
)

// LetsEncrypt is the directory of Let's Encrypt.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// MaxNames is for how many names one certificate may be.
const MaxNames = 32

// Account says who asks which authority, and how it makes sure.
type Account struct {
	Directory string         // the URL of the authority's directory: https
	Roots     *x509.CertPool // who may certify the directory; nil: those whom the system trusts
	Email     string         // where the authority may write; empty: nowhere
	KeyID     string         // of the external account that it is bound to (RFC 8555, section 7.3.4); empty: none
	MAC       []byte         // the key of that binding
	HTTP      bool           // validation by http-01 (RFC 8555, section 8.3); else by tls-alpn-01 (RFC 8737)
}

func (a Account) equal(b Account) bool {
	roots := a.Roots == b.Roots || a.Roots != nil && b.Roots != nil && a.Roots.Equal(b.Roots)
	return roots && a.Directory == b.Directory && a.Email == b.Email && a.KeyID == b.KeyID && slices.Equal(a.MAC, b.MAC) && a.HTTP == b.HTTP
}

// Store keeps texts from one run of the program to the next.
type Store interface {
	// Read gives a text; the error wraps [io/fs.ErrNotExist] where there is none.
	Read(name string) ([]byte, error)
	Write(name string, text []byte) error
	// Lock takes a lock that no two processes have at a time. It does not wait.
	Lock(name string) (unlock func(), err error)
	// Path gives the place of a text, for messages.
	Path(name string) string
}

// Setting is what a configuration asks for.
type Setting struct {
	Account
	Names [][]string // of each certificate, in lower case
	Store Store
	// Publish has a TXT record answered by all servers of the name's zone, until withdraw is called: validation is by dns-01
	// (RFC 8555, section 8.4), and names may be wildcards. Nil: it is as the account says, and no name is a wildcard.
	Publish func(name, text string) (withdraw func(), err error)
	// Dial connects to the directory. Its error says why it cannot.
	Dial func(ctx context.Context, t name.Target) (net.Conn, error)
	// Way is what Dial leads by. Where a later setting has another, what is under way by this one ends.
	Way any
	// Await waits until Dial has a prospect of success; the error says what is missing.
	Await func(ctx context.Context) error
}

func (s *Setting) validate() error {
	u, err := url.Parse(s.Directory)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return errors.New("acme: the directory is no https:// URL")
	case s.Store == nil || s.Dial == nil || s.Await == nil:
		return errors.New("acme: it needs a place to keep certificates, and a way to the authority")
	case s.Publish != nil && s.HTTP:
		return errors.New("acme: validation is by dns-01 or by http-01, not by both")
	case s.KeyID != "" && len(s.MAC) == 0:
		return errors.New("acme: the key of the external account is missing")
	}
	for _, names := range s.Names {
		if len(names) == 0 || len(names) > MaxNames {
			return errors.New("acme: a certificate is for one name at least, and not for so many")
		}
		if s.Publish == nil && slices.ContainsFunc(names, isWildcard) {
			return errors.New("acme: a wildcard is validated by dns-01 alone, and there is nobody to publish records")
		}
	}
	return nil
}

// Status is how one certificate does.
type Status struct {
	Names     []string
	NotAfter  time.Time // zero where there is no certificate
	Next      time.Time // when the authority is asked next
	Failures  int       // since the last success
	LastError string    // of the last attempt; empty after a success
}

// Manager keeps certificates. Its methods may be called from many goroutines.
type Manager struct {
	log     *slog.Logger
	answers answers

	mu      sync.Mutex
	setting *Setting // in force; nil: nothing is asked for
	over    chan struct{}
	certs   map[string]*certificate // by their names
}

// New makes a manager without certificates.
func New(log *slog.Logger) (*Manager, error) {
	if log == nil {
		return nil, errors.New("acme: it needs a log")
	}
	return &Manager{log: log, over: make(chan struct{}), certs: map[string]*certificate{}}, nil
}

// Set puts a setting in force, nil for none, and reads what was kept for it. What failed before is tried again soon. Where
// nothing has changed, what is under way goes on.
func (m *Manager) Set(s *Setting) error {
	if s != nil {
		if err := s.validate(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if same(m.setting, s) {
		for _, c := range m.certs {
			c.hurry()
		}
		return nil
	}
	before := m.certs
	sameAccount := s != nil && m.setting != nil && m.setting.equal(s.Account)
	m.setting, m.certs = s, map[string]*certificate{}
	if s != nil {
		for _, names := range s.Names {
			c := before[keyOf(names)]
			if c == nil || !sameAccount {
				c = newCertificate(names, s.Directory, m.log)
				c.load(s.Store)
			}
			c.hurry()
			m.certs[keyOf(names)] = c
		}
	}
	close(m.over)
	m.over = make(chan struct{})
	return nil
}

// same says whether two settings ask for the same.
func same(a, b *Setting) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.equal(b.Account) && a.Way == b.Way && (a.Publish == nil) == (b.Publish == nil) && a.Store.Path("x") == b.Store.Path("x") && slices.EqualFunc(a.Names, b.Names, slices.Equal)
}

// isWildcard says whether a name stands for all that are one label below another.
func isWildcard(name string) bool { return strings.HasPrefix(name, "*.") }

// keyOf is the same for the same names, in whatever order.
func keyOf(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), " ") }

// Secure completes the configuration of a listener for names of the setting: it shows the certificate of the moment, and
// answers validations by TLS.
func (m *Manager) Secure(c *tls.Config, names []string) *tls.Config {
	key := keyOf(names)
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		m.mu.Lock()
		one := m.certs[key]
		m.mu.Unlock()
		if one == nil {
			return nil, errNotWanted
		}
		return one.show()
	}
	c.GetConfigForClient = m.answers.configFor
	return c
}

// errNotWanted is for a listener that no setting has a certificate for: one that is about to end.
var errNotWanted = errors.New("acme: no certificate is kept for this listener")

// Status tells of all certificates, in the order of the setting.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.setting == nil {
		return nil
	}
	var all []Status
	for _, names := range m.setting.Names {
		all = append(all, m.certs[keyOf(names)].status())
	}
	return all
}

// now gives what is in force, and a channel that is closed when it is no more.
func (m *Manager) now() (s *Setting, certs []*certificate, over <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.setting != nil {
		for _, names := range m.setting.Names {
			certs = append(certs, m.certs[keyOf(names)])
		}
	}
	return m.setting, certs, m.over
}

// Run gets and renews certificates until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	for ctx.Err() == nil {
		s, certs, over := m.now()
		inForce, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			select {
			case <-over:
				stop()
			case <-inForce.Done():
			}
		}()
		if s == nil {
			<-inForce.Done()
		} else {
			m.keep(inForce, s, certs)
		}
		stop()
		<-ended
	}
}
