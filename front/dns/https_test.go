package dns

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	miekg "github.com/miekg/dns"

	"watertight/wire"
)

// doh serves DNS over HTTPS, and gives a client of it and its URL.
func doh(t testing.TB, d *Door, h2 bool) (client *http.Client, url string, stop func()) {
	t.Helper()
	id := newIdentity(t)
	l := listenTCP(t)
	stop = run(t, func(ctx ctx) error { return d.ServeHTTPS(ctx, l, nil, id.server()) })
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return wire.DialTCP(ctx, l.Addr().(*net.TCPAddr).AddrPort())
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: id.pool, ServerName: serverName}, Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, "https://" + l.Addr().String() + "/dns-query", stop
}

func do(t testing.TB, c *http.Client, method, url, media string, body []byte) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func TestQueriesAreAnsweredOverHTTPS(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		d := newDoor(t, Options{})
		client, url, stop := doh(t, d, h2)
		q := query(t, "www.example.", miekg.TypeA, edns(1232, &miekg.EDNS0_PADDING{}))
		for _, how := range []string{http.MethodGet, http.MethodPost} {
			at, media, body := url, mediaType, q
			if how == http.MethodGet {
				at, media, body = url+"?dns="+base64.RawURLEncoding.EncodeToString(q), "", nil
			}
			resp, b := do(t, client, how, at, media, body)
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != mediaType || len(b) != 468 || (resp.ProtoMajor == 2) != h2 {
				t.Fatalf("%s: %s, %v, %d octets", how, resp.Status, resp.Header, len(b))
			}
			m := read(t, b)
			if len(m.Answer) != 1 {
				t.Errorf("%s: %v", how, m)
			}
			if age := resp.Header.Get("Cache-Control"); !strings.HasPrefix(age, "max-age=") || age == "max-age=0" {
				t.Errorf("%s: it may be kept %q", how, age)
			}
		}
		resp, b := do(t, client, http.MethodPost, url, mediaType, query(t, "fault.example.", miekg.TypeA, nil))
		if m := read(t, b); resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" || m.Rcode != miekg.RcodeRefused {
			t.Errorf("a failure: %s, %v, %v", resp.Status, resp.Header, m)
		}
		client.CloseIdleConnections()
		stop()
		waitFor(t, func() bool { return d.Stats().Connections == 0 }) // net/http tells of the end of a connection a little after it
		if s := d.Stats(); s.Queries["https"] != 3 || s.Connections != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestARequestThatIsNoQueryIsRefusedWithItsStatus(t *testing.T) {
	d := newDoor(t, Options{})
	client, url, _ := doh(t, d, true)
	q := query(t, "www.example.", miekg.TypeA, nil)
	for _, c := range []struct {
		method, url, media string
		body               []byte
		want               int
	}{
		{http.MethodGet, strings.Replace(url, "dns-query", "", 1), "", nil, 404},
		{http.MethodGet, url, "", nil, 400},
		{http.MethodGet, url + "?dns=====", "", nil, 400},
		{http.MethodGet, url + "?dns=AAAA", "", nil, 400},
		{http.MethodPost, url, "", q, 415},
		{http.MethodPost, url, "application/json", q, 415},
		{http.MethodPost, url, mediaType, nil, 400},
		{http.MethodPost, url, mediaType, make([]byte, 70000), 413},
		{http.MethodPut, url, mediaType, q, 405},
	} {
		if resp, b := do(t, client, c.method, c.url, c.media, c.body); resp.StatusCode != c.want || len(b) > 100 {
			t.Errorf("%s %s (%s, %d octets): %s, %q", c.method, c.url, c.media, len(c.body), resp.Status, b)
		}
	}
	if d.Stats().Failed != 0 || d.Stats().Malformed != 2 {
		t.Errorf("%+v", d.Stats())
	}
}

func TestWithoutCertificatesNoHTTPSIsServed(t *testing.T) {
	if err := newDoor(t, Options{}).ServeHTTPS(t.Context(), listenTCP(t), nil, nil); err == nil {
		t.Error("served without a TLS configuration")
	}
}
