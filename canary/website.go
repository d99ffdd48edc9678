package canary

import (
	"bytes"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"watertight/visit"
)

// site answers for the page and its parts.
func (w *Web) site(rw http.ResponseWriter, r *http.Request, client netip.AddrPort) {
	spelled, ofVisit := strings.CutPrefix(r.URL.Path, pathVisit)
	f, isFile := w.files[r.URL.Path]
	switch {
	case r.URL.Path == "/":
		rw.Header().Set("Location", pathVisit+visit.NewLabel())
		w.send(rw, r, http.StatusSeeOther, "text/plain; charset=utf-8", []byte("a new visit\n"))
	case isFile:
		rw.Header().Set("Cache-Control", "max-age=300")
		w.send(rw, r, http.StatusOK, f.kind, f.text)
	case ofVisit:
		label, ok := readLabel(spelled)
		if !ok {
			w.missing(rw, r)
			return
		}
		w.visitPage(rw, r, label, client)
	default:
		w.missing(rw, r)
	}
}

func (w *Web) missing(rw http.ResponseWriter, r *http.Request) {
	w.render(rw, r, http.StatusNotFound, "missing.html", nil)
}

// visitPage shows what was seen of a visit. Who opens it first is the visitor, and fetches the pictures.
func (w *Web) visitPage(rw http.ResponseWriter, r *http.Request, label string, client netip.AddrPort) {
	seen, known := w.seen(label)
	part := r.URL.Query().Get("part") == "results"
	fresh := !opened(&seen, w.o.Zone)
	if fresh && !part && r.Method == http.MethodGet {
		w.came(label, client, w.o.Zone, r.TLS != nil)
		seen, known = w.seen(label)
	}
	v := w.view(label, &seen, known)
	v.Port = w.w.STUN
	if part {
		w.render(rw, r, http.StatusOK, "results.html", v)
		return
	}
	if fresh {
		v.Probes = probes(label, w.o.Zone, r.TLS != nil, portOf(r.Host))
	}
	w.render(rw, r, http.StatusOK, "visit.html", v)
}

// opened says whether the page of a visit was opened before.
func opened(s *visit.Seen, zone string) bool {
	for i := range s.Requests {
		if s.Requests[i].Host == zone {
			return true
		}
	}
	return false
}

// probes are the pictures of a page: one for each branch that a browser can show something by, and one deep below the label,
// which resolvers that minimise ask for step by step.
func probes(label, zone string, secure bool, port string) (urls []string) {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	if port != "" {
		port = ":" + port
	}
	for _, b := range []visit.Branch{visit.Plain, visit.V4, visit.V6, visit.Bogus, visit.TCP} {
		urls = append(urls, scheme+visit.Name(label, b, zone)+port+pathPicture)
	}
	return append(urls, scheme+"deep.er."+visit.Name(label, visit.Plain, zone)+port+pathPicture)
}

// render answers with a template. What cannot be rendered is a fault of the program.
func (w *Web) render(rw http.ResponseWriter, r *http.Request, status int, name string, v any) {
	var b bytes.Buffer
	if err := w.pages.ExecuteTemplate(&b, name, v); err != nil {
		w.o.Logger.Error("a page of the canary cannot be shown", "page", name, "error", err)
		w.refuse(rw, r, http.StatusInternalServerError, "INTERNAL", "the page cannot be shown", "")
		return
	}
	rw.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.send(rw, r, status, "text/html; charset=utf-8", b.Bytes())
}
