package httpproxy

import (
	"net/http"
	"net/textproto"
	"strings"

	"watertight/httphead"
)

// hopByHop are the fields that are about one connection, beside those that Connection lists (RFC 9110,
// section 7.6.1), in lower case. The framing fields are among them: each side has its own framing.
var hopByHop = map[string]bool{
	"connection":          true,
	"content-length":      true,
	"host":                true,
	"keep-alive":          true,
	"proxy-authenticate":  true,
	"proxy-authorization": true,
	"proxy-connection":    true,
	"te":                  true,
	"trailer":             true,
	"transfer-encoding":   true,
	"upgrade":             true,
}

// notInTrailers are fields that steer a message and have no meaning after its body (RFC 9110, section 6.5.1).
var notInTrailers = map[string]bool{
	"authorization": true, "cache-control": true, "content-encoding": true, "content-range": true,
	"content-type": true, "cookie": true, "expect": true, "max-forwards": true, "set-cookie": true,
}

// listed gives the names in all Connection fields, in lower case.
func listed(fields []httphead.Field) map[string]bool {
	var names map[string]bool
	for _, f := range fields {
		if !strings.EqualFold(f.Name, "Connection") && !strings.EqualFold(f.Name, "Proxy-Connection") {
			continue
		}
		for part := range strings.SplitSeq(f.Value, ",") {
			if names == nil {
				names = make(map[string]bool)
			}
			names[strings.ToLower(strings.Trim(part, " \t"))] = true
		}
	}
	return names
}

// endToEnd gives the fields of a message that go on to the far side, in their order.
func endToEnd(fields []httphead.Field) []httphead.Field {
	drop := listed(fields)
	kept := make([]httphead.Field, 0, len(fields))
	for _, f := range fields {
		if n := strings.ToLower(f.Name); !hopByHop[n] && !drop[n] {
			kept = append(kept, f)
		}
	}
	return kept
}

// headerOf makes a header of fields, keeping the order of those with one name.
func headerOf(fields []httphead.Field) http.Header {
	h := make(http.Header, len(fields)+2)
	for _, f := range fields {
		k := textproto.CanonicalMIMEHeaderKey(f.Name)
		h[k] = append(h[k], f.Value)
	}
	return h
}

// stripResponse removes what is about the connection to the origin.
func stripResponse(h http.Header) {
	for _, v := range h["Connection"] {
		for part := range strings.SplitSeq(v, ",") {
			h.Del(strings.Trim(part, " \t"))
		}
	}
	for k := range h {
		if n := strings.ToLower(k); hopByHop[n] {
			delete(h, k)
		}
	}
}

// malformed says what is wrong with the names of a response's fields; empty if nothing is. net/http lets names with
// blanks through. A blank before the colon would make one field of two: some recipients take it away (RFC 9112,
// section 5.1), and then see a length or an encoding that others do not.
func malformed(h http.Header) (why string) {
	for k := range h {
		if !httphead.IsToken(k) {
			return "answered with a header whose name is not a token"
		}
	}
	return ""
}

// mayTrail says whether a field may stand in a trailer section.
func mayTrail(key string) bool {
	n := strings.ToLower(key)
	return httphead.IsToken(n) && !hopByHop[n] && !notInTrailers[n]
}
