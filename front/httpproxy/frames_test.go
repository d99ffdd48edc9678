package httpproxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// inClear is a client that takes the connection for one in clear, and so sends that scheme.
func (h *http2Client) inClear(t testing.TB) *http.Transport {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return tls.Dial("tcp", h.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// framed is a tunnel in frames: net/http's client ends a stream as a whole.
type framed struct {
	*http2.Framer
	t    *testing.T
	conn net.Conn
}

// ended asks for a tunnel.
func (h *http2Client) ended(t *testing.T, target string) *framed {
	t.Helper()
	return h.framed(t, ":method", "CONNECT", ":authority", target)
}

// asks sends a request in frames, and gives the status of its response, or how it was reset.
func (h *http2Client) asks(t *testing.T, fields ...string) string {
	t.Helper()
	f := h.framed(t, fields...)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		got, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch got := got.(type) {
		case *http2.MetaHeadersFrame:
			return got.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return got.ErrCode.String()
		}
	}
}

// framed begins a stream.
func (h *http2Client) framed(t *testing.T, fields ...string) *framed {
	t.Helper()
	conn, err := tls.Dial("tcp", h.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	f := &framed{Framer: http2.NewFramer(conn, conn), t: t, conn: conn}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = f.WriteSettings()
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	return f
}

// untilEnd reads to the end of the proxy's direction.
func (f *framed) untilEnd() (all string) {
	f.t.Helper()
	for {
		got, err := f.ReadFrame()
		if err != nil {
			f.t.Fatal(err)
		}
		switch got := got.(type) {
		case *http2.DataFrame:
			all += string(got.Data())
			if got.StreamEnded() {
				return all
			}
		case *http2.RSTStreamFrame:
			f.t.Fatalf("reset: %v", got.ErrCode)
		}
	}
}

// send sends what is the last of ours.
func (f *framed) send(text string) {
	f.t.Helper()
	if err := f.WriteData(1, true, []byte(text)); err != nil {
		f.t.Fatal(err)
	}
}
