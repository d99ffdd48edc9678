package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"watertight/name"
)

// Plain is DNS in clear text (RFC 1035), which a channel's own resolver may speak inside the channel's tunnel where the
// configuration says so, and nobody else anywhere. It is not among [Kinds], and [Parse] does not know it.
const Plain Kind = "udp"

// Tunnel says whether the kind is carried inside a tunnel alone.
func (k Kind) Tunnel() bool { return kinds[k].tunnel }

var errTunnelName = errors.New("it is found by no name, which would have to be looked up; write its address, as in udp://10.2.0.1")

// endpoint is what the spec's URL says. Plain DNS is a URL of a spec for a tunnel, and of no other.
func (s Spec) endpoint() (endpoint, error) {
	scheme, rest, found := strings.Cut(s.URL, "://")
	if !s.Tunnel || !found || !strings.EqualFold(scheme, string(Plain)) || strings.Contains(s.URL, "@") || len(s.URL) > maxURL {
		return parseEndpoint(s.URL)
	}
	e := endpoint{kind: Plain, port: kinds[Plain].port}
	u, err := url.Parse(string(Plain) + "://" + rest)
	if err != nil {
		return endpoint{}, errors.New("not a URL that can be read")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return endpoint{}, errors.New("plain DNS has an address and a port, and nothing behind them")
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if e.host, err = name.ParseHost(host); err != nil {
		return endpoint{}, err
	}
	if _, ok := e.host.Addr(); !ok {
		return endpoint{}, errTunnelName
	}
	if p := u.Port(); p != "" || strings.HasSuffix(u.Host, ":") {
		if e.port, err = name.ParsePort(p); err != nil {
			return endpoint{}, err
		}
	}
	return e, nil
}

// plain gives an upstream of plain DNS, and refuses what would be compared with a certificate.
func (s Spec) plain(u Upstream, errs []error) (Upstream, error) {
	for _, f := range []struct {
		field string
		given bool
	}{{"pins", len(s.Pins) > 0}, {"ca", s.CA != ""}, {"name", s.Name != ""}, {"ech", s.ECH != ""}, {"relay", s.Relay != ""}} {
		if f.given {
			err := fmt.Errorf("plain DNS inside a tunnel proves nothing, and has nothing that this would be compared with; leave `%s` out", f.field)
			errs = append(errs, &SpecError{Field: f.field, Err: err})
		}
	}
	if len(errs) > 0 {
		return Upstream{}, errors.Join(errs...)
	}
	return u, nil
}
