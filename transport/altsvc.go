package transport

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"watertight/name"
)

// defaultAge is how long an alternative service holds that does not say so (RFC 7838, section 3.1).
const defaultAge = 24 * time.Hour

// heard takes what a response says about HTTP/3. It is the upstream's own word: the response came over an authenticated
// connection, from the origin that is asked.
func (c *Client) heard(resp *http.Response) {
	fields := resp.Header.Values("Alt-Svc")
	if !c.upgradable() || len(fields) == 0 || resp.StatusCode == http.StatusMisdirectedRequest { // RFC 7838, section 6
		return
	}
	port, life := HTTP3Alternative(strings.Join(fields, ","), c.up.Host)
	if c.notice.alternative(port, life-age(resp.Header)) && c.links.enter() {
		go func() {
			defer c.wg.Done()
			c.upgrade()
		}()
	}
}

// HTTP3Alternative reads an Alt-Svc field (RFC 7838, section 3): the port of the first alternative that speaks HTTP/3 on
// the origin's own host, and for how long that holds; 0 where there is none. An alternative on another host is passed
// over, `clear` is none, and what cannot be read ends the field.
func HTTP3Alternative(field, origin string) (port uint16, life time.Duration) {
	r := altReader{rest: field}
	for {
		protocol, authority, ok := r.alternative()
		if !ok {
			return 0, 0
		}
		life := defaultAge
		for {
			key, value, more := r.parameter()
			if !more {
				break
			}
			if seconds, err := strconv.ParseUint(value, 10, 31); strings.EqualFold(key, "ma") && err == nil {
				life = time.Duration(seconds) * time.Second
			}
		}
		if p, ok := onHost(authority, origin); ok && protocol == "h3" {
			return p, life
		}
		if !r.next(',') {
			return 0, 0
		}
	}
}

// onHost gives the port of an authority whose host is left out, or is that of the origin.
func onHost(authority, origin string) (uint16, bool) {
	colon := strings.LastIndexByte(authority, ':')
	if colon < 0 {
		return 0, false
	}
	port, err := name.ParsePort(authority[colon+1:])
	if err != nil || authority[:colon] == "" {
		return port, err == nil
	}
	theirs, err := name.ParseHost(authority[:colon])
	if err != nil {
		return 0, false
	}
	ours, err := name.ParseHost(origin)
	if t, e := name.Parse(origin); err != nil && e == nil { // with a port
		ours, err = t.Host(), nil
	}
	return port, err == nil && theirs == ours
}

// altReader reads the syntax of Alt-Svc from its front.
type altReader struct{ rest string }

const tokenChars = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// next takes one octet, with white space around it.
func (r *altReader) next(c byte) bool {
	rest := strings.TrimLeft(r.rest, " \t")
	if rest == "" || rest[0] != c {
		return false
	}
	r.rest = strings.TrimLeft(rest[1:], " \t")
	return true
}

func (r *altReader) token() string {
	rest := strings.TrimLeft(r.rest, tokenChars)
	token := r.rest[:len(r.rest)-len(rest)]
	r.rest = rest
	return token
}

// quoted takes a quoted string (RFC 9110, section 5.6.4).
func (r *altReader) quoted() (string, bool) {
	if !strings.HasPrefix(r.rest, `"`) {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '"':
			r.rest = r.rest[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(r.rest):
			i++
			b.WriteByte(r.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// alternative takes `protocol-id "=" alt-authority`. Empty elements of the list before it are passed over.
func (r *altReader) alternative() (protocol, authority string, ok bool) {
	for r.next(',') {
	}
	r.rest = strings.TrimLeft(r.rest, " \t")
	protocol = r.token()
	if protocol == "" || !strings.HasPrefix(r.rest, "=") {
		return "", "", false
	}
	r.rest = r.rest[1:]
	authority, ok = r.quoted()
	return protocol, authority, ok
}

// parameter takes `";" token "=" (token / quoted-string)`.
func (r *altReader) parameter() (key, value string, ok bool) {
	if !r.next(';') {
		return "", "", false
	}
	key = r.token()
	if !strings.HasPrefix(r.rest, "=") {
		return key, "", key != ""
	}
	r.rest = r.rest[1:]
	if value, ok = r.quoted(); !ok {
		value = r.token()
	}
	return key, value, true
}
