package masque

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"watertight/name"
)

// ErrPath is what is no path of connect-udp.
var ErrPath = errors.New("masque: write /.well-known/masque/udp/HOST/PORT/")

// wellKnown is where the default template begins (RFC 9298, section 2).
const wellKnown = "/.well-known/masque/udp/"

// maxPath is more than any path of a target has, in octets: each of a name's percent-encoded.
const maxPath = len(wellKnown) + 3*name.MaxName + len("/65535/")

// Path gives the path that asks for a flow to t, by the default template. The colons of an IPv6 address are percent-encoded
// (RFC 9298, section 3).
func Path(t name.Target) string {
	host := strings.ReplaceAll(t.Host().String(), ":", "%3A")
	return wellKnown + host + "/" + strconv.Itoa(int(t.Port())) + "/"
}

// ParsePath reads such a path as it was sent.
func ParsePath(path string) (name.Target, error) {
	if len(path) > maxPath {
		return name.Target{}, ErrPath
	}
	rest, ok := strings.CutPrefix(path, wellKnown)
	if !ok {
		return name.Target{}, ErrPath
	}
	host, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return name.Target{}, ErrPath
	}
	port, rest, ok := strings.Cut(rest, "/")
	if !ok || rest != "" {
		return name.Target{}, ErrPath
	}
	host, err := url.PathUnescape(host)
	if err != nil || strings.ContainsAny(host, "[]") {
		return name.Target{}, ErrPath
	}
	h, err := name.ParseHost(host)
	if err != nil {
		return name.Target{}, errors.Join(ErrPath, err)
	}
	p, err := name.ParsePort(port)
	if err != nil {
		return name.Target{}, errors.Join(ErrPath, err)
	}
	return name.New(h, p)
}
