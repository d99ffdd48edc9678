package hop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"watertight/name"
)

// h2Proxy serves CONNECT over HTTP/2 on the net. It counts its connections.
type h2Proxy struct {
	*memory
	p *pki
	// refuse answers instead of connecting, where it is not nil.
	refuse func(w http.ResponseWriter, r *http.Request) bool

	mu     sync.Mutex
	conns  []net.Conn
	asked  []string // target and credentials
	ended  map[net.Conn]chan struct{}
	server *http.Server
}

func newH2(t *testing.T) *h2Proxy {
	t.Helper()
	h := &h2Proxy{memory: &memory{buffers: true}, p: newPKI(t), ended: map[net.Conn]chan struct{}{}}
	h.at = map[string]func(net.Conn){"a.example:443": echo, "192.0.2.7:443": echo, "[2001:db8::7]:443": echo}
	config := h.p.serverConfig("gw.example")
	config.NextProtos = []string{"h2"}
	h.at["gw.example:443"] = h.p.overTLS(config, h.serve)
	h.server = &http.Server{Handler: h, HTTP2: &http.HTTP2Config{}, Protocols: new(http.Protocols), ConnState: h.changed}
	h.server.Protocols.SetHTTP2(true)
	return h
}

func (h *h2Proxy) serve(conn net.Conn) {
	ended := make(chan struct{})
	h.mu.Lock()
	h.conns, h.ended[conn] = append(h.conns, conn), ended
	h.mu.Unlock()
	_ = h.server.Serve(&single{conn: conn}) // it ends when there is no second connection
	<-ended
}

func (h *h2Proxy) changed(conn net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		h.mu.Lock()
		defer h.mu.Unlock()
		close(h.ended[conn])
	}
}

// single is a listener of one connection.
type single struct{ conn net.Conn }

func (s *single) Accept() (net.Conn, error) {
	if s.conn == nil {
		return nil, net.ErrClosed
	}
	conn := s.conn
	s.conn = nil
	return conn, nil
}

func (*single) Close() error   { return nil }
func (*single) Addr() net.Addr { return &net.TCPAddr{} }

func (h *h2Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked = append(h.asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization")+r.Header.Get("User-Agent"))
	h.mu.Unlock()
	if h.refuse != nil && h.refuse(w, r) {
		return
	}
	far, err := h.dial(r.Host)
	if err != nil {
		w.Header().Set("Proxy-Status", "p; error=connection_refused")
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer far.Close()
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	go func() {
		_, _ = io.Copy(far, r.Body)
		if c, ok := far.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := far.Read(buf)
		if _, werr := w.Write(buf[:n]); werr != nil {
			panic(http.ErrAbortHandler)
		}
		_ = http.NewResponseController(w).Flush()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			panic(http.ErrAbortHandler) // RST_STREAM
		}
	}
}

func (h *h2Proxy) connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

func (h *h2Proxy) chain(t *testing.T, urls ...string) *Chained {
	t.Helper()
	if len(urls) == 0 {
		urls = []string{"h2://gw.example"}
	}
	c, err := Chain(under(h, noLookup), h.p.proxies(t, urls...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func dialed(t *testing.T, c *Chained, target string) net.Conn {
	t.Helper()
	conn, err := c.Dial(t.Context(), name.Must(target))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// endsFirst serves one tunnel, and ends its direction at once. It gives what it hears until the end of the other.
func endsFirst(t *testing.T, conn net.Conn) string {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		t.Error(err)
		return ""
	}
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	var all []byte
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			return string(all) + " and then " + err.Error()
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			var block bytes.Buffer
			_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
			_ = framer.WriteData(f.StreamID, true, []byte("bye"))
		case *http2.DataFrame:
			if all = append(all, f.Data()...); f.StreamEnded() {
				return string(all)
			}
		case *http2.RSTStreamFrame:
			return string(all) + " and then a reset"
		}
	}
}
