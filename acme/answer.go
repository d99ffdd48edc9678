package acme

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	xacme "golang.org/x/crypto/acme"
	"golang.org/x/net/netutil"

	"watertight/httpserve"
)

// Protocol is the protocol by which an authority asks for the answer to a validation (RFC 8737, section 4). A connection on
// which it was agreed carries nothing: who serves it closes it.
const Protocol = xacme.ALPNProto

// IsAnswer says whether a configuration, of [Manager.Secure], is for a validation.
func IsAnswer(c *tls.Config) bool { return len(c.NextProtos) == 1 && c.NextProtos[0] == Protocol }

// Limits of the listener for validations by HTTP.
const (
	httpClients = 64
	httpHead    = 4 << 10
	httpTime    = 10 * time.Second
)

// answers are what validations that are under way are answered with.
type answers struct {
	mu     sync.Mutex
	byName map[string]*tls.Certificate // for tls-alpn-01
	byPath map[string]string           // for http-01
}

// forName has a name answered by TLS until done is called.
func (a *answers) forName(name string, c *tls.Certificate) (done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byName == nil {
		a.byName = map[string]*tls.Certificate{}
	}
	a.byName[name] = c
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.byName, name)
	}
}

// forPath has a path answered by HTTP until done is called.
func (a *answers) forPath(path, text string) (done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byPath == nil {
		a.byPath = map[string]string{}
	}
	a.byPath[path] = text
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.byPath, path)
	}
}

// errNoValidation ends the handshake of who asks for an answer that nobody waits for.
var errNoValidation = errors.New("acme: no validation of that name is under way")

// quicParameters is the extension that a hello of QUIC has (RFC 9001, section 8.2).
const quicParameters = 57

// configFor gives the configuration for a validation, and nil for every other client. It asks for no certificate of the
// authority, and none is needed: the connection carries nothing.
func (a *answers) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != Protocol {
		return nil, nil
	}
	a.mu.Lock()
	c := a.byName[strings.ToLower(hello.ServerName)]
	a.mu.Unlock()
	if c == nil || slices.Contains(hello.Extensions, quicParameters) {
		return nil, errNoValidation
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // RFC 8737, section 3
		NextProtos: []string{Protocol}, Certificates: []tls.Certificate{*c}, SessionTicketsDisabled: true,
	}, nil
}

// ServeHTTP answers validations by http-01, and nothing else.
func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	text, ok := a.byPath[r.URL.Path]
	a.mu.Unlock()
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "nothing is here but answers to validations that are under way", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.WriteString(w, text) // who is gone needs nothing
}

// ServeHTTP answers validations by http-01 on l until ctx ends, and closes l. It gives nil then.
func (m *Manager) ServeHTTP(ctx context.Context, l *net.TCPListener) error {
	server := &http.Server{
		Handler: httpserve.Contain(&m.answers, m.log), ReadTimeout: httpTime, WriteTimeout: httpTime, MaxHeaderBytes: httpHead,
		ErrorLog: log.New(io.Discard, "", 0), DisableGeneralOptionsHandler: true, // what clients do wrong is no news
	}
	server.SetKeepAlivesEnabled(false)
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(netutil.LimitListener(l, httpClients))
	_ = l.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}
