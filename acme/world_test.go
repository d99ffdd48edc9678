package acme

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/lab/acmetest"
	"watertight/lab/dnstest"
	"watertight/name"
)

// store keeps texts in memory.
type store struct {
	mu     sync.Mutex
	texts  map[string][]byte
	full   bool // nothing can be written
	locked bool
}

func (s *store) Read(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, ok := s.texts[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(text), nil
}

func (s *store) Write(name string, text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return errors.New("no space left")
	}
	s.texts[name] = bytes.Clone(text)
	return nil
}

func (s *store) Lock(string) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locked {
		return nil, errors.New("another has it")
	}
	s.locked = true
	return func() { s.mu.Lock(); defer s.mu.Unlock(); s.locked = false }, nil
}

func (s *store) Path(name string) string { return "/state/" + name }

func (s *store) set(change func(*store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// lines is a log that is read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// world has an authority at ca.example, and a manager that asks it.
type world struct {
	t         *testing.T
	authority *acmetest.Authority
	store     *store
	m         *Manager
	listener  *tls.Config // of the names
	setting   *Setting
	log       lines
	stop      func()

	mu      sync.Mutex
	dialled []string
}

var at = netip.MustParseAddrPort("192.0.2.1:443")

const host, other = "proxy.example.net", "other.example.net"

// inWorld runs a test in time of its own. Nothing runs yet but the authority.
func inWorld(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, authority: acmetest.New(), store: &store{texts: map[string][]byte{}}}
		w.authority.Validate = w.validate
		var net0 dnstest.Net
		ca := dnstest.NewCA()
		cert := ca.Issue([]string{"ca.example"}, nil)
		server := &http.Server{Handler: w.authority, ErrorLog: log.New(io.Discard, "", 0)}
		l := tls.NewListener(net0.Listen(at), &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(l) }()
		w.setting = &Setting{
			Account: Account{Directory: "https://ca.example/dir", Roots: ca.Pool()},
			Names:   [][]string{{host, other}}, Store: w.store,
			Dial: func(ctx context.Context, to name.Target) (net.Conn, error) {
				w.mu.Lock()
				w.dialled = append(w.dialled, to.String())
				w.mu.Unlock()
				return net0.DialAddr(ctx, at)
			},
			Await: func(context.Context) error { return nil },
		}
		defer func() {
			if w.stop != nil {
				w.stop()
			}
			_ = server.Close()
			<-done
		}()
		test(w)
	})
}

// run runs a new manager, as a new run of the program does.
func (w *world) run() {
	w.t.Helper()
	if w.stop != nil {
		w.stop()
	}
	var err error
	if w.m, err = New(slog.New(slog.NewTextHandler(&w.log, nil))); err != nil {
		w.t.Fatal(err)
	}
	w.listener = w.m.Secure(&tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}, []string{other, host})
	if err := w.m.Set(w.setting); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); w.m.Run(ctx) }()
	w.stop = func() { cancel(); <-ended; w.stop = nil }
}

// after gives the time so long to pass.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// meets makes a handshake with the listener.
func (w *world) meets(client *tls.Config) (tls.ConnectionState, error) {
	near, far := dnstest.Pipe(at, at)
	server := tls.Server(far, w.listener)
	done := make(chan error, 1)
	go func() { done <- server.Handshake(); far.Close() }()
	c := tls.Client(near, client)
	err := c.Handshake()
	near.Close()
	if served := <-done; err == nil {
		err = served
	}
	return c.ConnectionState(), err
}

// shown gives the certificate that a client is shown; nil for none.
func (w *world) shown() *x509.Certificate {
	s, err := w.meets(&tls.Config{ServerName: host, RootCAs: w.authority.Pool(), NextProtos: []string{"h2"}})
	if err != nil {
		return nil
	}
	return s.PeerCertificates[0]
}

// identifier is the extension with the answer (RFC 8737, section 6.1).
var identifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// validate is how an authority makes sure.
func (w *world) validate(kind, name, token, answer string) error {
	if kind == "http-01" {
		r := httptest.NewRecorder()
		w.m.answers.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "http://"+name+"/.well-known/acme-challenge/"+token, nil))
		if r.Code != http.StatusOK || r.Body.String() != answer {
			return errors.New("the answer is another")
		}
		return nil
	}
	s, err := w.meets(&tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{Protocol}, MaxVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	c := s.PeerCertificates[0]
	sum := sha256.Sum256([]byte(answer))
	want, _ := asn1.Marshal(sum[:])
	i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(identifier) && e.Critical })
	if s.NegotiatedProtocol != Protocol || !slices.Equal(c.DNSNames, []string{name}) || i < 0 || !bytes.Equal(c.Extensions[i].Value, want) {
		return errors.New("the answer is another")
	}
	return nil
}
