package canary

import (
	"embed"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"watertight/visit"
)

// page has the templates, the style, the script and the picture of the page, and the description of the API. Nothing of it
// refers to anything but the canary itself.
//
//go:embed page
var page embed.FS

// WebOptions are what the web page needs beside the [Options].
type WebOptions struct {
	// Zone is what the canary says of itself.
	Zone func() visit.Zone
	// STUN is the port at which the canary answers STUN; 0: it does not, and the page asks nobody.
	STUN uint16
}

// Web is the page and the API of a canary: an HTTP handler. It writes into the log who came by which name of a visit, and
// keeps nothing else.
type Web struct {
	o    Options
	w    WebOptions
	rate *webRate
	// stunRate is apart: datagrams come with forged addresses, and must not use up what a page has.
	stunRate *webRate
	pages    *template.Template
	files    map[string]file // by path
}

// file is a part of the page that is the same for everybody.
type file struct {
	kind string
	text []byte
}

// NewWeb makes the page and the API.
func NewWeb(o Options, w WebOptions) (*Web, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if w.Zone == nil {
		return nil, errors.New("canary: the web page needs to know what the canary says of itself")
	}
	pages, err := template.New("").Funcs(template.FuncMap{"icon": iconOf}).ParseFS(page, "page/*.html")
	if err != nil {
		return nil, err
	}
	web := &Web{o: o, w: w, rate: newWebRate(o.Now), stunRate: newWebRate(o.Now), pages: pages, files: map[string]file{
		"/robots.txt": {"text/plain; charset=utf-8", []byte("User-agent: *\nDisallow: /\n")},
	}}
	for path, kind := range map[string]string{
		"style.css": "text/css; charset=utf-8", "script.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml", "openapi.json": "application/json",
	} {
		text, err := page.ReadFile("page/" + path)
		if err != nil {
			return nil, err
		}
		at := "/" + path
		if path == "openapi.json" {
			at = pathAPI + "/v1/" + path
		}
		web.files[at] = file{kind, text}
	}
	return web, nil
}

// pathAPI is what the paths of package visit are below.
const pathAPI = "/api"

// pathVisit is the page of a visit, without its label.
const pathVisit = "/visit/"

// ServeHTTP implements [http.Handler].
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	client, host := clientOf(r), hostOf(r.Host)
	secure := r.TLS != nil
	w.head(rw.Header(), secure, portOf(r.Host))
	label, branch, _, err := visit.Parse(host, w.o.Zone)
	isVisit := err == nil
	switch {
	case !client.IsValid():
		w.refuse(rw, r, http.StatusInternalServerError, "INTERNAL", "nobody knows whose request this is", "")
	case !w.rate.take(client.Addr()):
		rw.Header().Set("Retry-After", "2")
		w.refuse(rw, r, http.StatusTooManyRequests, "LIMIT", "your network asks too often", "wait two seconds")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		rw.Header().Set("Allow", "GET, HEAD")
		w.refuse(rw, r, http.StatusMethodNotAllowed, "BAD_REQUEST", "only GET and HEAD are answered", "")
	case r.ContentLength != 0:
		rw.Header().Set("Connection", "close")
		w.refuse(rw, r, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "a request has no body here", "")
	case isVisit:
		w.visited(rw, r, label, branch, client, host)
	case r.URL.Path == pathAPI || strings.HasPrefix(r.URL.Path, pathAPI+"/"):
		w.api(rw, r, client)
	default:
		w.site(rw, r, client)
	}
}

// head sets what every answer has. No other origin may read anything (there is no CORS): a label is a key, and who has it can
// ask from a program. No policy that lasts (HSTS) is set, since the names are for trying clear text too.
func (w *Web) head(h http.Header, secure bool, port string) {
	zone := w.o.Zone
	if port != "" {
		zone += ":" + port
	}
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' "+scheme+"*."+zone+
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-site")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Server", "watertight")
}

// visited answers a request to a name of a visit: a picture for the page, or a line for people.
func (w *Web) visited(rw http.ResponseWriter, r *http.Request, label string, branch visit.Branch, client netip.AddrPort, host string) {
	w.came(label, client, host, r.TLS != nil)
	switch r.URL.Path {
	case pathPicture:
		w.send(rw, r, http.StatusOK, "image/svg+xml", []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`))
	case "/":
		text := "You came to " + visit.Name(label, branch, w.o.Zone) + " from " + client.Addr().String() + ".\n" +
			"Who looked the name up: " + w.origin(r) + pathAPI + visit.PathLabel + label + "\n"
		w.send(rw, r, http.StatusOK, "text/plain; charset=utf-8", []byte(text))
	default:
		w.refuse(rw, r, http.StatusNotFound, "NOT_FOUND", "there is nothing at this path", "")
	}
}

// origin is the page's own, by the scheme and the port by which a request came.
func (w *Web) origin(r *http.Request) string {
	scheme, at := "http://", w.o.Zone
	if r.TLS != nil {
		scheme = "https://"
	}
	if port := portOf(r.Host); port != "" {
		at += ":" + port
	}
	return scheme + at
}

// pathPicture is the picture that the page has its visitors fetch from the names of a visit.
const pathPicture = "/p.svg"

// came writes into the log who came.
func (w *Web) came(label string, client netip.AddrPort, host string, secure bool) {
	w.o.Log.Request(label, visit.Request{From: client, Host: host, Secure: secure})
}

// seen gives what the log has of a visit, and says whose the addresses are.
func (w *Web) seen(label string) (visit.Seen, bool) {
	s, ok := w.o.Log.Seen(label)
	known := map[netip.Addr]*visit.Network{}
	whose := func(a netip.Addr) *visit.Network {
		n, ok := known[a]
		if !ok {
			n = w.o.Networks.Network(a)
			known[a] = n
		}
		return n
	}
	for i := range s.Queries {
		s.Queries[i].Network = whose(s.Queries[i].From.Addr())
	}
	for i := range s.Requests {
		s.Requests[i].Network = whose(s.Requests[i].From.Addr())
	}
	return s, ok
}

// send answers.
func (w *Web) send(rw http.ResponseWriter, r *http.Request, status int, kind string, text []byte) {
	rw.Header().Set("Content-Type", kind)
	rw.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = rw.Write(text) // the visitor has gone
	}
}

// clientOf is where a request came from; not valid where that is not known.
func clientOf(r *http.Request) netip.AddrPort {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

// hostOf is a Host field (RFC 9110, section 7.2) without its port, in lower case and without a dot at its end.
func hostOf(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// portOf is the port of a Host field: digits, or empty.
func portOf(host string) string {
	_, port, err := net.SplitHostPort(host)
	if err != nil || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return ""
	}
	return port
}
