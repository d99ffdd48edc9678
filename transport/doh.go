package transport

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"watertight/dnswire"
	"watertight/fault"
)

const (
	mediaType = "application/dns-message"
	maxHeader = 16 << 10 // of a response, in octets
)

// dohRequests is what DNS over HTTPS says to an upstream, over whichever version of HTTP.
type dohRequests struct {
	c   *Client
	url *url.URL
	get bool
}

func newDoHRequests(c *Client) (dohRequests, error) {
	u, err := url.Parse("https://" + c.up.Host + c.up.Path)
	return dohRequests{c, u, c.up.GET}, err
}

// ask sends a question, with ID 0 (RFC 8484, section 4.1), and reads the reply.
func (l dohRequests) ask(ctx context.Context, over http.RoundTripper, q dnswire.Question) (*dnswire.Answer, *Failure) {
	msg, err := l.c.query(q, 0, dnswire.PadQuery)
	if err != nil {
		return nil, badQuestion(q, err)
	}
	resp, err := over.RoundTrip(l.request(ctx, msg))
	if err != nil {
		return nil, l.c.lost(ctx, err)
	}
	defer resp.Body.Close()
	l.c.heard(resp)
	if fail := l.c.checkHTTP(resp, mediaType); fail != nil {
		return nil, fail
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, dnswire.MaxMessage+1))
	if err != nil {
		return nil, l.c.lost(ctx, err)
	}
	a, err := dnswire.ParseAnswer(body, q, 0)
	if err != nil {
		return nil, l.c.malformed(err)
	}
	if age := age(resp.Header); age > 0 {
		a = a.Aged(age)
	}
	return a, nil
}

// request says as little as it can: no user agent, no cookie, no language (RFC 8484, section 8.2).
func (l dohRequests) request(ctx context.Context, msg []byte) *http.Request {
	r := &http.Request{
		Method: http.MethodPost,
		URL:    l.url,
		Host:   l.url.Host,
		Header: http.Header{
			"Accept":     {mediaType},
			"User-Agent": {""}, // none at all
		},
	}
	if l.get { // the one variable of the template (RFC 8484, section 6)
		u := *l.url
		u.RawQuery = "dns=" + base64.RawURLEncoding.EncodeToString(msg)
		r.Method, r.URL = http.MethodGet, &u
	} else {
		r.Header.Set("Content-Type", mediaType)
		r.ContentLength = int64(len(msg))
		r.Body = io.NopCloser(bytes.NewReader(msg))
	}
	return r.WithContext(ctx)
}

// lost is what a request fails with that got no response, or not all of it.
func (c *Client) lost(ctx context.Context, err error) *Failure {
	if ctx.Err() != nil {
		return c.timeout(err)
	}
	return c.broke(err)
}

// checkHTTP refuses what is not a message of the wanted type, "" being any. A redirect names a server that nobody
// configured (RFC 8484, section 3).
func (c *Client) checkHTTP(resp *http.Response, want string) *Failure {
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return c.unreachable("redirects to another place (HTTP "+strconv.Itoa(resp.StatusCode)+"), and redirects are never followed", nil)
	case resp.StatusCode != http.StatusOK:
		return c.unreachable("answered HTTP "+strconv.Itoa(resp.StatusCode), nil)
	}
	got := resp.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(got); want != "" && (err != nil || media != want) {
		if got == "" {
			got = "something"
		}
		return c.unreachable("answered "+fault.OneLine(got)+" instead of a DNS message", nil)
	}
	return nil
}

// age is how long an HTTP cache kept the response (RFC 9111, section 5.1); TTLs shrink by it (RFC 8484, section 5.1).
func age(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Age"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
