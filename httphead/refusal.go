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
}

// realm is what a client shows where it asks for the proxy's user and password.
const realm = "watertight"

// Append appends the response: a status line whose reason holds the code, since that is what most clients print; a
// Proxy-Status (RFC 9209) and a JSON body for those that show more.
func (r Refusal) Append(b []byte) []byte {
	body := r.body()
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Fault.Code.HTTPStatus()), 10)
	b = append(b, ' ')
	b = append(b, r.Fault.Reason()...)
	b = append(b, "\r\nProxy-Status: "...)
	b = r.appendStatus(b)
	if challenge := r.challenge(); challenge != "" {
		b = append(b, "\r\nProxy-Authenticate: "+challenge...)
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
	if challenge := r.challenge(); challenge != "" {
		h.Set("Proxy-Authenticate", challenge)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.Fault.Code.HTTPStatus())
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

// challenge is the value of Proxy-Authenticate, where there is one.
func (r Refusal) challenge() string {
	if r.Fault.Code.HTTPStatus() != http.StatusProxyAuthRequired {
		return ""
	}
	return "Basic realm=\"" + realm + "\", charset=\"UTF-8\""
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
