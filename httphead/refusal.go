package httphead

import (
	"encoding/json"
	"net/http"
	"strconv"

	"watertight/fault"
)

// Refusal is how a fault is shown to a client.
type Refusal struct {
	Fault *fault.Error
	Close bool // the connection ends after it
	Head  bool // the request was HEAD: the body is left out
	// Origin says that the client takes us for the origin: it is asked for credentials with 401 and not with 407, which some
	// take for a fault of the network where they have no proxy.
	Origin bool
}

// realm is what a client shows where it asks for the proxy's user and password.
const realm = "watertight"

// Append appends the response: a status line whose reason holds the code, since that is what most clients print; a
// Proxy-Status (RFC 9209) and a JSON body for those that show more.
func (r Refusal) Append(b []byte) []byte {
	body := r.body()
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.status()), 10)
	b = append(b, ' ')
	b = append(b, r.Fault.Reason()...)
	b = append(b, "\r\nProxy-Status: "...)
	b = r.appendStatus(b)
	if field, challenge := r.challenge(); challenge != "" {
		b = append(b, "\r\n"+field+": "+challenge...)
	}
	b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	if r.Close {
		b = append(b, "\r\nConnection: close"...)
	}
	b = append(b, "\r\n\r\n"...)
	if !r.Head {
		b = append(b, body...)
	}
	return b
}

// Serve answers with the refusal where the status has no reason, as in HTTP/2.
func (r Refusal) Serve(w http.ResponseWriter) {
	body, h := r.body(), w.Header()
	h.Set("Proxy-Status", string(r.appendStatus(nil)))
	if field, challenge := r.challenge(); challenge != "" {
		h.Set(field, challenge)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.status())
	if !r.Head {
		_, _ = w.Write(body) // a client that is gone gets none
	}
}

// body is what a program may read.
func (r Refusal) body() []byte {
	f := r.Fault
	body, err := json.Marshal(struct {
		Error   fault.Code `json:"error"`
		Message string     `json:"message"`
		Target  string     `json:"target"`
		Channel string     `json:"channel"`
		Hint    string     `json:"hint"`
	}{f.Code, f.Message, f.Target, f.Channel, f.NextStep()})
	if err != nil { // strings always marshal
		body = []byte("{}")
	}
	return append(body, '\n')
}

// appendStatus appends the value of Proxy-Status.
func (r Refusal) appendStatus(b []byte) []byte {
	f := r.Fault
	b = append(b, "watertight; error="...)
	b = append(b, f.Code.ProxyError()...)
	if rcode := rcodeText(f); rcode != "" {
		b = append(b, `; rcode="`...)
		b = appendQuoted(b, rcode)
		b = append(b, '"')
	}
	b = append(b, `; details="`...)
	b = appendQuoted(b, f.Message)
	return append(b, '"')
}

// status is that of the fault.
func (r Refusal) status() int {
	s := r.Fault.Code.HTTPStatus()
	if s == http.StatusProxyAuthRequired && r.Origin {
		return http.StatusUnauthorized
	}
	return s
}

// challenge is the field that asks for credentials, with its value; empty where none are asked for.
func (r Refusal) challenge() (field, value string) {
	switch r.status() {
	case http.StatusUnauthorized: // no scheme for which a browser would ask its user
		return "WWW-Authenticate", "Bearer realm=\"" + realm + "\""
	case http.StatusProxyAuthRequired:
		return "Proxy-Authenticate", "Basic realm=\"" + realm + "\", charset=\"UTF-8\""
	}
	return "", ""
}

// rcodeText is the rcode parameter of a dns_error (RFC 9209, section 2.3.2): what the resolver said. Of an answer that
// was thrown away, or that never came, nothing is made up.
func rcodeText(f *fault.Error) string {
	switch f.Code {
	case fault.DNSNXDomain:
		return "NXDOMAIN"
	case fault.DNSNoData:
		return "NOERROR"
	case fault.DNSServFail:
		return f.RCode
	}
	return ""
}

// appendQuoted appends the inside of a structured-field string (RFC 9651, section 3.3.3): printable ASCII, with
// quotes and backslashes escaped.
func appendQuoted(b []byte, s string) []byte {
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < ' ' || c > '~':
			b = append(b, '?')
		default:
			b = append(b, byte(c))
		}
	}
	return b
}
