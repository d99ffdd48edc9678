package connect

import "bytes"

var (
	proxyStatus = []byte("Proxy-Status")
	errorKey    = []byte("error")
	rcodeKey    = []byte("rcode")
)

// maxErrorType bounds an error type and a response code in text; those that are registered are shorter.
const maxErrorType = 64

// proxyError finds the first member of a Proxy-Status value (RFC 9209, section 2: a list of RFC 9651) that has the
// parameter error, and gives it with the member's rcode. What cannot be read is passed over: the status of the
// response stands, whatever else it says.
func proxyError(value []byte) (errorType, rcode string) {
	for len(value) > 0 {
		var member []byte
		member, value = cutOutsideQuotes(value, ',')
		errorType, rcode = "", ""
		_, parameters := cutOutsideQuotes(member, ';')
		for len(parameters) > 0 {
			var parameter []byte
			parameter, parameters = cutOutsideQuotes(parameters, ';')
			key, text, _ := bytes.Cut(bytes.Trim(parameter, " \t"), []byte{'='})
			switch {
			case bytes.Equal(key, errorKey):
				errorType = word(text)
			case bytes.Equal(key, rcodeKey):
				rcode = word(bytes.Trim(text, `"`))
			}
		}
		if errorType != "" {
			return errorType, rcode
		}
	}
	return "", ""
}

// cutOutsideQuotes cuts b around the first sep that is in no quoted string.
func cutOutsideQuotes(b []byte, sep byte) (before, after []byte) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// word gives b as text if it is a token of a sensible length, and nothing otherwise.
func word(b []byte) string {
	if len(b) > maxErrorType {
		return ""
	}
	for _, c := range b {
		if !isToken(c) {
			return ""
		}
	}
	return string(b)
}

// ResponseOf makes a response of what another version of HTTP has read: its status, and the values of its Proxy-Status
// fields.
func ResponseOf(status int, proxyStatus []string) Response {
	r := Response{Status: status}
	for _, value := range proxyStatus {
		if r.Error == "" {
			r.Error, r.RCode = proxyError([]byte(value))
		}
	}
	return r
}
