package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"watertight/name"
)

// endpoint is what a URL or a preset's name says.
type endpoint struct {
	kind  Kind
	host  name.Host
	port  uint16
	path  string
	get   bool
	known []netip.Addr // what a preset knows of the host

	// Of a stamp.
	stamp  bool
	at     netip.Addr // where it is, if the stamp says so
	hashes [][32]byte

	// Of a stamp of DNSCrypt.
	provider string
	key      [32]byte
}

func (e endpoint) display() string {
	if e.port == kinds[e.kind].port {
		return bracketed(e.host)
	}
	t, err := name.New(e.host, e.port)
	if err != nil {
		return e.host.String()
	}
	return t.String()
}

func parseEndpoint(s string) (endpoint, error) {
	if strings.Contains(s, "@") { // nothing that is meant for an upstream has one, and what is before it may be a secret
		return endpoint{}, errors.New("an upstream has no user and password")
	}
	if len(s) >= len(stampScheme) && strings.EqualFold(s[:len(stampScheme)], stampScheme) {
		return parseStamp(s)
	}
	if len(s) > maxURL {
		return endpoint{}, fmt.Errorf("longer than %d octets", maxURL)
	}
	scheme, rest, hasScheme := strings.Cut(s, "://")
	if !hasScheme {
		if p, ok := presetByName(s); ok {
			return p.endpoint()
		}
		return endpoint{}, bare(s)
	}
	scheme = strings.ToLower(scheme)
	if t, ok := kinds[Kind(scheme)]; ok && t.stamp {
		return endpoint{}, fmt.Errorf("%s has no URL; write its stamp, %s…", t.name, stampScheme)
	} else if ok && !t.tunnel {
		return parseURL(s, Kind(scheme))
	}
	switch scheme {
	case "udp", "tcp", "dns":
		host := strings.TrimRight(rest, "/")
		if h, err := name.Parse(rest); err == nil {
			host = bracketed(h.Host())
		}
		return endpoint{}, fmt.Errorf("%s is plain DNS, %w; write tls://%s", s, ErrPlain, host)
	case "http":
		return endpoint{}, fmt.Errorf("%s is not encrypted, %w; write https://%s", s, ErrPlain, rest)
	}
	return endpoint{}, fmt.Errorf("%.20q is no scheme of an upstream; write https:// or tls://", scheme)
}

// bare explains what is wrong with a text that has no scheme and is no preset's name.
func bare(s string) error {
	if s == "" {
		return errors.New("the upstream is empty; give a preset (" + presetNames(3) + "), https://… or tls://…")
	}
	if t, err := name.Parse(s); err == nil { // with a port
		return fmt.Errorf("%s is plain DNS, %w; write tls://%s", s, ErrPlain, bracketed(t.Host()))
	}
	h, err := name.ParseHost(s)
	if err != nil {
		return fmt.Errorf("%.60q is neither a preset nor a URL; write https:// or tls://", s)
	}
	if _, ok := h.Addr(); ok {
		return fmt.Errorf("%s is plain DNS, %w; write tls://%s", s, ErrPlain, bracketed(h))
	}
	if !strings.Contains(s, ".") || presetLike(s) != "" {
		if like := presetLike(s); like != "" {
			return fmt.Errorf("there is no preset %q; the nearest is %q", s, like)
		}
		return fmt.Errorf("there is no preset %q; there are %s", s, presetNames(0))
	}
	return fmt.Errorf("%s does not say how it is encrypted; write https://%s%s or tls://%s", s, s, defaultPath, s)
}

func bracketed(h name.Host) string {
	if a, ok := h.Addr(); ok && a.Is6() {
		return "[" + a.String() + "]"
	}
	return h.String()
}

func parseURL(s string, kind Kind) (endpoint, error) {
	e := endpoint{kind: kind, port: kinds[kind].port}
	if kinds[kind].path {
		s, e.get = strings.CutSuffix(s, "{?dns}")
	}
	u, err := url.Parse(s)
	if err != nil {
		return endpoint{}, errors.New("not a URL that can be read")
	}
	switch {
	case u.User != nil:
		return endpoint{}, errors.New("an upstream has no user and password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return endpoint{}, errors.New("an upstream's URL has no query and no fragment")
	case !kinds[kind].path && u.Path != "" && u.Path != "/":
		return endpoint{}, fmt.Errorf("%s has no path; for DNS over HTTPS write https:// or h3://", kind.Name())
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if e.host, err = name.ParseHost(host); err != nil {
		return endpoint{}, err
	}
	if p := u.Port(); p != "" || strings.HasSuffix(u.Host, ":") {
		if e.port, err = name.ParsePort(p); err != nil {
			return endpoint{}, err
		}
	}
	if e.port == 53 {
		return endpoint{}, errPort53
	}
	if kinds[kind].path {
		if e.path = u.EscapedPath(); e.path == "" {
			e.path = defaultPath
		}
	}
	if host, ok := e.host.Name(); ok {
		e.known = slices.Clone(presetAddrs(host))
	}
	return e, nil
}
