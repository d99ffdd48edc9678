package control

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// paths are the whole surface of a listener: there is no pattern, and what is not here is not found.
type paths map[string]handling

// handling is what answers a path, and to which method besides HEAD, which goes with GET.
type handling struct {
	method string
	http.Handler
}

func (s *Server) admin() paths {
	return paths{
		"/":        {http.MethodGet, http.HandlerFunc(index)},
		"/healthz": {http.MethodGet, http.HandlerFunc(s.healthy)},
		"/readyz":  {http.MethodGet, http.HandlerFunc(s.ready)},
		"/status":  {http.MethodGet, http.HandlerFunc(s.status)},
		"/metrics": {http.MethodGet, s.o.Metrics},

		"/proxy.pac": {http.MethodGet, http.HandlerFunc(s.pac)},
	}
}

func (s *Server) commands() paths {
	p := s.admin()
	delete(p, "/proxy.pac") // no browser comes by a UNIX socket
	p["/reload"] = handling{http.MethodPost, http.HandlerFunc(s.reload)}
	p["/cache/flush"] = handling{http.MethodPost, http.HandlerFunc(s.flush)}
	s.addAttach(p)
	s.addTest(p)
	s.addKept(p)
	return p
}

func (p paths) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, ok := p[r.URL.Path]
	if !ok {
		refuse(w, http.StatusNotFound, "there is /healthz, /readyz, /metrics, /status and /proxy.pac")
		return
	}
	if r.Method != h.method && (r.Method != http.MethodHead || h.method != http.MethodGet) {
		allow := h.method
		if allow == http.MethodGet {
			allow = "GET, HEAD"
		}
		w.Header().Set("Allow", allow)
		refuse(w, http.StatusMethodNotAllowed, "this path takes "+allow)
		return
	}
	h.ServeHTTP(w, r)
}

// check refuses a request with a status and a sentence; a status of 0 lets it pass.
type check func(*http.Request) (status int, why string)

// guarded puts the checks before h, and headers on every answer that keep a browser from making anything of it.
func guarded(h http.Handler, checks ...check) http.Handler {
	checks = append(checks, noBody)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		for _, c := range checks {
			if status, why := c(r); status != 0 {
				header.Set("Connection", "close")
				refuse(w, status, why)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// noBody refuses content: no request here has any.
func noBody(r *http.Request) (int, string) {
	if r.ContentLength != 0 {
		return http.StatusRequestEntityTooLarge, "a request here has no content"
	}
	return 0, ""
}

// hostIsLocal refuses a Host that is a name, on a connection to a loopback address: a web page whose name was made
// to point there (DNS rebinding) sends its own name, and no browser lets it send another.
func hostIsLocal(r *http.Request) (int, string) {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if ok && !at.IP.IsLoopback() {
		return 0, ""
	}
	if !isLiteralOrLocalhost(r.Host) {
		return http.StatusMisdirectedRequest, "ask for this host by its address or as localhost"
	}
	return 0, ""
}

// isLiteralOrLocalhost reads a Host field (RFC 9110, section 7.2): an address, IPv6 in brackets and without a zone,
// or localhost, each with or without a port.
func isLiteralOrLocalhost(host string) bool {
	if at, err := netip.ParseAddrPort(host); err == nil {
		return at.Addr().Zone() == ""
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Is4()
	}
	name, port, _ := strings.Cut(host, ":")
	return strings.EqualFold(name, "localhost") && strings.Trim(port, "0123456789") == ""
}

func index(w http.ResponseWriter, _ *http.Request) {
	text(w, http.StatusOK, "Watertight\n\n/healthz  alive\n/readyz   ready, or which channel is not and why\n/metrics  for Prometheus\n/status   everything, in JSON\n/proxy.pac  for browsers: everything goes through the proxy\n")
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"`
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	ready, reasons := s.o.Source.Ready()
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	s.json(w, status, readiness{ready, append([]string{}, reasons...)})
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	whole := s.o.Source.Status().whole()
	if !r.URL.Query().Has(withMembers) {
		for i, c := range whole.Channels {
			if c.Pool != nil {
				short := *c.Pool
				short.List = []Member{}
				whole.Channels[i].Pool = &short
			}
		}
	}
	s.json(w, http.StatusOK, whole)
}

// withMembers in the query of /status asks for every member of the pools.
const withMembers = "pool"

// reloaded is the answer of /reload.
type reloaded struct {
	OK      bool     `json:"ok"`
	Invalid bool     `json:"invalid"` // the configuration is at fault
	Errors  []string `json:"errors"`
}

// reload lets the program take its time. Nothing is left to read, so only the limit on writing is moved.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), reloadLimit)
	defer cancel()
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reloadLimit + writeLimit)); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	if err := s.o.Source.Reload(ctx); err != nil {
		status, invalid := http.StatusServiceUnavailable, errors.Is(err, ErrInvalid)
		if invalid {
			status = http.StatusUnprocessableEntity
		}
		s.json(w, status, reloaded{Invalid: invalid, Errors: lines(err)})
		return
	}
	s.json(w, http.StatusOK, reloaded{OK: true, Errors: []string{}})
}

// lines gives an error's lines: a configuration's errors are reported all at once.
func lines(err error) []string {
	var all []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			all = append(all, line)
		}
	}
	return all
}

func (s *Server) json(w http.ResponseWriter, status int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		s.o.Log.Error("an answer could not be written as JSON", "error", err)
		refuse(w, http.StatusInternalServerError, "the answer could not be written")
		return
	}
	answer(w, status, "application/json", append(b, '\n'))
}

func refuse(w http.ResponseWriter, status int, why string) { text(w, status, why+"\n") }

func text(w http.ResponseWriter, status int, s string) {
	answer(w, status, "text/plain; charset=utf-8", []byte(s))
}

func answer(w http.ResponseWriter, status int, kind string, b []byte) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(b) // a reader that is gone needs nothing
}
