package dnstest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"watertight/odoh"
)

const odohConfigs = "/.well-known/odohconfigs"

// ODoHTarget is a target of Oblivious DNS over HTTPS (RFC 9230). It has no socket: only a relay passes requests to it.
type ODoHTarget struct {
	// Host and Path are what the target is known by.
	Host, Path string

	mu    sync.Mutex
	key   *odoh.Target
	shown []byte
	stall bool          // after what is shown, instead of ending
	held  chan struct{} // a request for the key waits for it, if it is not nil
	seen  []Relayed
}

// Relayed is what a relay sees of a request to a target.
type Relayed struct {
	Method, Host, Path     string // of the request to the relay itself
	TargetHost, TargetPath string
	Header                 http.Header
	Body                   []byte
	RawQuery               string
}

// NewODoHTarget makes a target with a key of its own.
func NewODoHTarget(host, path string) *ODoHTarget {
	t := &ODoHTarget{Host: host, Path: path}
	t.Renew()
	return t
}

// Renew gives the target another key. What is encrypted to the one before is answered with 401.
func (t *ODoHTarget) Renew() {
	t.Rekey()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shown = odoh.Configs(t.key)
}

// Rekey is Renew, and the target goes on showing the key that it had.
func (t *ODoHTarget) Rekey() {
	key, err := odoh.NewTarget(odoh.Default)
	if err != nil {
		panic(err) // the algorithms are there, and so is randomness
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.key = key
}

// Show makes the target show something else instead of its key.
func (t *ODoHTarget) Show(configs []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shown = configs
}

// ShowWithoutEnd makes the target show a megabyte instead of its key, and never say that this was all.
func (t *ODoHTarget) ShowWithoutEnd() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shown, t.stall = make([]byte, 1<<20), true
}

// Hold makes requests for the key wait until release is closed.
func (t *ODoHTarget) Hold(release chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = release
}

// Seen gives every request that a relay got for the target so far.
func (t *ODoHTarget) Seen() []Relayed {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seen)
}

// Fetched says how often the key was asked for.
func (t *ODoHTarget) Fetched() (n int) {
	for _, r := range t.Seen() {
		if r.Method == http.MethodGet {
			n++
		}
	}
	return n
}

// ServeODoH is a relay on l, until it is closed, and the target that it passes everything to. Its connections are those
// to the relay, its queries and h are the target's.
func ServeODoH(l net.Listener, cert tls.Certificate, target *ODoHTarget, h Handler, tweak ...func(*tls.Config)) *Server {
	s := newServer(l, h)
	s.serveHTTP(cert, func(w http.ResponseWriter, r *http.Request) { s.serveODoH(w, r, target) }, tweak)
	return s
}

func (s *Server) serveODoH(w http.ResponseWriter, r *http.Request, target *ODoHTarget) {
	body, err := io.ReadAll(io.LimitReader(r.Body, odoh.MaxMessage))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	to := r.URL.Query()
	seen := Relayed{
		Method: r.Method, Host: r.Host, Path: r.URL.Path, RawQuery: r.URL.RawQuery,
		TargetHost: to.Get("targethost"), TargetPath: to.Get("targetpath"), Header: r.Header.Clone(), Body: body,
	}
	target.mu.Lock()
	target.seen = append(target.seen, seen)
	key, shown, held, stall := target.key, target.shown, target.held, target.stall
	target.mu.Unlock()
	switch {
	case seen.TargetHost != target.Host: // the relay cannot reach it
		http.Error(w, "no such target", http.StatusBadGateway)
	case r.Method == http.MethodGet && seen.TargetPath == odohConfigs:
		if held != nil {
			select {
			case <-held:
			case <-r.Context().Done():
			}
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(shown)
		if stall {
			<-r.Context().Done()
		}
	case r.Method == http.MethodPost && seen.TargetPath == target.Path && r.Header.Get("Content-Type") == odoh.MediaType:
		s.askTarget(w, r, key, body)
	default:
		http.Error(w, "no such thing at the target", http.StatusNotFound)
	}
}

// askTarget is the target's own part (RFC 9230, section 8).
func (s *Server) askTarget(w http.ResponseWriter, r *http.Request, key *odoh.Target, body []byte) {
	msg, answer, err := key.Open(body)
	switch {
	case errors.Is(err, odoh.ErrKeyID):
		http.Error(w, err.Error(), http.StatusUnauthorized)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		s.respond(w, r, &Query{Raw: msg, Transport: ODoH}, odoh.MediaType, func(wire []byte) ([]byte, error) {
			return answer.Seal(wire, 468)
		})
	}
}
