package httpproxy

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"watertight/fault"
)

func TestAnExtendedCONNECTIsNotTakenForATunnel(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	dial, _ := p.http3(t, patience, anyNumber)
	c, _ := dial()
	for _, protocol := range []string{"websocket", "connect-ip", "HTTP/3.0"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		s, err := c.OpenRequestStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(patience))
		u := &url.URL{Scheme: "https", Host: "example.com:" + port, Path: "/.well-known/masque/udp/192.0.2.1/443/"}
		if err := s.SendRequestHeader(&http.Request{Method: http.MethodConnect, Proto: protocol, URL: u, Host: u.Host, Header: http.Header{}}); err != nil {
			continue // the client's library does not send it
		}
		if resp, err := s.ReadResponse(); err == nil && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", protocol, resp.Status)
		}
	}
	if asked := p.dialer.requests(); len(asked) > 0 {
		t.Errorf("asked %+v", asked)
	}
	if codes := p.sink.codes(); len(codes) == 0 || codes[0] != string(fault.BadRequest) {
		t.Errorf("told %q", codes)
	}
}
