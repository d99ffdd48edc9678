package leaktest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"watertight/name"
	"watertight/visit"
)

// Limits on what a canary answers.
const (
	apiLimit  = 20 * time.Second
	apiOctets = 1 << 20
	maxSeen   = 1000 // questions of one label, and requests
	apiHead   = 32 << 10
)

// api asks a canary what it has seen, over connections that it is given.
type api struct {
	canary Canary
	base   *url.URL
	port   uint16
}

// newAPI reads where the API is.
func newAPI(c Canary) (*api, error) {
	base, err := url.Parse(c.API)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, errors.New("the address of the canary's API is no URL of http or https")
	}
	a := &api{canary: c, base: base, port: 443}
	if base.Scheme == "http" {
		a.port = 80
	}
	if p := base.Port(); p != "" {
		if a.port, err = name.ParsePort(p); err != nil {
			return nil, fmt.Errorf("the address of the canary's API: %w", err)
		}
	}
	return a, nil
}

// dial makes the connection for one request.
type dial func(ctx context.Context) (net.Conn, error)

// through dials the API in a channel.
func (a *api) through(w Way) dial {
	return func(ctx context.Context) (net.Conn, error) { return w.Connect(ctx, a.base.Hostname(), a.port) }
}

// errNothing is what an API answers about what it has not seen.
var errNothing = errors.New("the canary has seen nothing of it")

// get asks for a path. The server has to prove that it is the API's, whatever name led to it.
func (a *api) get(ctx context.Context, to dial, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, apiLimit)
	defer cancel()
	client := http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return to(ctx) },
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: a.canary.Roots, ServerName: a.base.Hostname()},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: apiHead,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the canary redirects") },
	}
	u := *a.base
	u.Path, u.RawQuery = strings.TrimRight(u.Path, "/")+path, ""
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("the canary's API: %w", err)
	}
	request.Header.Set("User-Agent", "") // none is sent
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the canary's API: %w", withoutURL(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, apiOctets+1))
	switch {
	case err != nil:
		return fmt.Errorf("the canary's API: the answer broke off: %w", err)
	case response.StatusCode == http.StatusNotFound:
		return errNothing
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("the canary's API answers with the status %d", response.StatusCode)
	case len(body) > apiOctets:
		return fmt.Errorf("the canary's API answers with more than %d octets", apiOctets)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return errors.New("the canary's API gives an answer that is not understood")
	}
	return nil
}

// withoutURL takes off what net/http puts before an error.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// visit makes a request to the canary over a connection, by one of its names.
func (a *api) visit(ctx context.Context, conn net.Conn, host string) error {
	ctx, cancel := context.WithTimeout(ctx, apiLimit)
	defer cancel()
	socket := conn
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	if a.base.Scheme == "https" {
		inside := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: a.canary.Roots, ServerName: host})
		if err := inside.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = inside
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, apiHead)), nil)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// zone asks what canary it is.
func (a *api) zone(ctx context.Context, to dial) (visit.Zone, error) {
	var z visit.Zone
	err := a.get(ctx, to, visit.PathZone, &z)
	if err == nil && !strings.EqualFold(strings.TrimSuffix(z.Zone, "."), a.canary.Zone) {
		err = fmt.Errorf("the canary serves the zone %s, and not %s", strconv.QuoteToASCII(z.Zone), a.canary.Zone)
	}
	return z, err
}

// seen asks what was seen of a label. Nothing seen is no error.
func (a *api) seen(ctx context.Context, to dial, label string) (visit.Seen, error) {
	var s visit.Seen
	err := a.get(ctx, to, visit.PathLabel+label, &s)
	if errors.Is(err, errNothing) {
		return visit.Seen{Label: label}, nil
	}
	if err == nil && s.Label != label {
		err = errors.New("the canary answers about another label")
	}
	if len(s.Queries) > maxSeen || len(s.Requests) > maxSeen {
		s.Queries, s.Requests, s.Cut = s.Queries[:min(maxSeen, len(s.Queries))], s.Requests[:min(maxSeen, len(s.Requests))], true
	}
	return s, err
}

// whoever asks from which address a connection comes out.
func (a *api) whoever(ctx context.Context, to dial) (visit.Whoever, error) {
	var w visit.Whoever
	err := a.get(ctx, to, visit.PathWhoami, &w)
	if err == nil && !w.Address.IsValid() {
		err = errors.New("the canary does not say from which address it is asked")
	}
	w.Address = w.Address.Unmap()
	return w, err
}

// party is an address with whom it belongs to, for people.
func party(a netip.Addr, n *visit.Network) string {
	if n == nil || n.Number == 0 && n.Country == "" {
		return a.String()
	}
	var parts []string
	if n.Number != 0 {
		parts = append(parts, fmt.Sprintf("AS%d", n.Number))
	}
	if n.Name != "" {
		parts = append(parts, n.Name)
	}
	if n.Country != "" {
		parts = append(parts, n.Country)
	}
	return a.String() + " (" + strings.Join(parts, ", ") + ")"
}
