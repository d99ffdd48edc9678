package canary

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"

	"watertight/visit"
)

// apiError is the answer of the API where it is no: the field names are stable.
type apiError struct {
	Error   string `json:"error"` // a code
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// api answers a path below [pathAPI].
func (w *Web) api(rw http.ResponseWriter, r *http.Request, client netip.AddrPort) {
	path := strings.TrimPrefix(r.URL.Path, pathAPI)
	spelled, ofLabel := strings.CutPrefix(path, visit.PathLabel)
	f, isFile := w.files[r.URL.Path]
	switch {
	case isFile:
		w.send(rw, r, http.StatusOK, f.kind, f.text)
	case ofLabel:
		w.apiLabel(rw, r, spelled)
	case path == visit.PathWhoami:
		w.json(rw, r, http.StatusOK, visit.Whoever{Address: client.Addr(), Network: w.o.Networks.Network(client.Addr())})
	case path == visit.PathZone:
		w.json(rw, r, http.StatusOK, w.w.Zone())
	default:
		w.refuse(rw, r, http.StatusNotFound, "NOT_FOUND", "there is nothing at this path", "the API is described at "+pathAPI+"/v1/openapi.json")
	}
}

// apiLabel tells what was seen of a visit.
func (w *Web) apiLabel(rw http.ResponseWriter, r *http.Request, spelled string) {
	label, ok := readLabel(spelled)
	if !ok {
		w.refuse(rw, r, http.StatusBadRequest, "BAD_REQUEST", "that is no label of a visit", "a label is 20 letters a to z and digits 2 to 7, made at random")
		return
	}
	seen, ok := w.seen(label)
	if !ok {
		w.refuse(rw, r, http.StatusNotFound, "NOT_SEEN", "nothing was seen of this visit within the last hour", "look up "+visit.Name("LABEL", visit.Plain, w.o.Zone)+" first")
		return
	}
	w.json(rw, r, http.StatusOK, seen)
}

// readLabel reads a label from the end of a path.
func readLabel(s string) (label string, ok bool) {
	if len(s) != visit.LabelLength {
		return "", false
	}
	label = strings.ToLower(s)
	return label, visit.IsLabel(label)
}

// json answers with a value.
func (w *Web) json(rw http.ResponseWriter, r *http.Request, status int, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil { // none of the types has anything that cannot be written
		w.o.Logger.Error("an answer of the canary's API cannot be written", "error", err)
		status, text = http.StatusInternalServerError, []byte(`{"error": "INTERNAL", "message": "the answer cannot be written"}`)
	}
	w.send(rw, r, status, "application/json", append(text, '\n'))
}

// refuse answers no: JSON, for programs and people alike.
func (w *Web) refuse(rw http.ResponseWriter, r *http.Request, status int, code, message, hint string) {
	w.json(rw, r, status, apiError{Error: code, Message: message, Hint: hint})
}
