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

// endToEnd gives the fields of a request that go on to the origin, in their order.
func endToEnd(q *httphead.Request) []httphead.Field {
	drop := listed(q.Fields)
	kept := make([]httphead.Field, 0, len(q.Fields))
	for _, f := range q.Fields {
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

// mayTrail says whether a field may stand in a trailer section.
func mayTrail(key string) bool {
	n := strings.ToLower(key)
	return !hopByHop[n] && !notInTrailers[n]
}
