package cells

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/name"
)

// secureKinds are protocols of hops over TLS.
var secureKinds = []kind{
	{name: "https", scheme: "https", port: 443, tls: []string{"http/1.1"}},
	{name: "socks5+tls", scheme: "socks5+tls", port: 1080, tls: []string{}},
	{name: "h2", scheme: "h2", port: 443, tls: []string{"h2"}},
}

// namesOnly is the protocol of hops that cannot be asked for an IPv6 address.
var namesOnly = kind{name: "socks4a", scheme: "socks4a", port: 1080}

// written is a hop in a configuration.
func (k kind) written(s *lab.Scene, url string) string {
	if k.tls != nil {
		return fmt.Sprintf("{url: %q, ca: %q}", url, s.CAFile)
	}
	return fmt.Sprintf("%q", url)
}

// secured gives what is spoken under the TLS of a hop, where there is any; nil where the client does not go on.
func (h *hop) secured(k kind, near net.Conn) net.Conn {
	if k.tls == nil {
		return near
	}
	c := &tls.Config{Certificates: []tls.Certificate{h.cert}, NextProtos: k.tls, MinVersion: tls.VersionTLS13}
	if h.clients != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, h.clients
	}
	conn := tls.Server(near, c)
	if conn.Handshake() != nil {
		return nil
	}
	return conn
}

// serveH2 serves CONNECT over HTTP/2 until the connection ends.
func (h *hop) serveH2(ctx context.Context, near net.Conn) {
	ended := make(chan struct{})
	var once sync.Once
	server := &http.Server{
		Protocols:   new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				once.Do(func() { close(ended) })
			}
		},
		Handler: http.HandlerFunc(h.connectH2),
	}
	server.Protocols.SetHTTP2(true)
	_ = server.Serve(&oneConn{conn: near}) // it ends when there is no second connection
	<-ended
}

// oneConn is a listener of one connection.
type oneConn struct{ conn net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	conn := l.conn
	l.conn = nil
	return conn, nil
}

func (*oneConn) Close() error   { return nil }
func (*oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func (h *hop) connectH2(w http.ResponseWriter, r *http.Request) {
	target, err := name.Parse(r.Host)
	if err != nil || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.note(target)
	far, err := h.reach(r.Context(), target, h.Dial)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			w.Header().Set("Proxy-Status", "hop; error=connection_refused")
		}
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer far.Close()
	flush := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	_ = flush.Flush()
	if h.cut.Load() && target.Port() == 443 {
		_, _ = r.Body.Read(make([]byte, 1))
		panic(http.ErrAbortHandler)
	}
	go func() {
		_, _ = io.Copy(far, r.Body)
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := far.Read(buf)
		if _, failed := w.Write(buf[:n]); failed != nil || err != nil {
			return
		}
		_ = flush.Flush()
	}
}

func TestHops_OverTLS(t *testing.T) {
	t.Parallel()
	for _, kind := range append([]kind{namesOnly}, secureKinds...) {
		for _, families := range internet.AllFamilies() {
			if families == internet.V6 && kind.tls == nil {
				continue // it could be asked for nothing there
			}
			t.Run("A5/"+string(families)+"/"+kind.name, func(t *testing.T) {
				far := &farChannel{kind: kind}
				c := far.cell("here")
				c.Families = families
				run(t, c)
			})
		}
		t.Run("D4/the exit resolves/"+kind.name, func(t *testing.T) { sentToTheHop(t, internet.Dual, kind, "exit") })
		t.Run("D4/the address is sent/"+kind.name, func(t *testing.T) { sentToTheHop(t, internet.Dual, kind, "here") })
		t.Run("D5/"+kind.name, func(t *testing.T) { resolverThroughTheHop(t, kind) })
	}

	for _, kind := range secureKinds {
		for _, resolve := range []string{"here", "exit"} {
			t.Run("D7/"+kind.name+"/"+resolve, func(t *testing.T) { refusedByTheDestination(t, kind, resolve) })
		}
		for id, leaf := range map[string]dnstest.Leaf{
			"another name":  {Names: []string{"somebody.else.example.net"}},
			"expired":       {NotAfter: time.Now().Add(-time.Hour)},
			"not valid yet": {NotBefore: time.Now().Add(time.Hour)},
		} {
			t.Run("A8/a hop/"+id+"/"+kind.name, func(t *testing.T) { unprovenHop(t, kind, leaf) })
		}
	}
}

// refusedByTheDestination: where nobody listens at the destination, the client is told so, and success never.
func refusedByTheDestination(t *testing.T, k kind, resolve string) {
	far := &farChannel{kind: k}
	c := far.cell(resolve)
	arrange := c.Arrange
	c.Arrange = func(t testing.TB, s *lab.Scene) {
		arrange(t, s)
		empty := lab.Must(s.AddHost("empty"))(t)
		lab.Must(0, s.Authority.Publish(s.Canary, empty))(t)
	}
	c.Refused = "(CONNECT_REFUSED)"
	e := run(t, c)
	if text := e.Client.Text(); strings.Contains(text, "HTTP/1.1 200") {
		t.Errorf("the client was told of success first: %s", text)
	}
}

// unprovenHop: a hop that does not prove who it is is asked for nothing.
func unprovenHop(t *testing.T, k kind, leaf dnstest.Leaf) {
	far := &farChannel{kind: k}
	c := far.cell("exit")
	arrange := c.Arrange
	c.Arrange = func(t testing.TB, s *lab.Scene) {
		arrange(t, s)
		if leaf.Names == nil {
			leaf.Names = []string{far.host(s)}
		}
		far.hop.cert = s.CA.IssueLeaf(leaf)
	}
	c.Refused = "(HOP_REFUSED)"
	c.After = func(t testing.TB, _ *lab.Scene) {
		if log := far.hop.log(); len(log) > 0 {
			t.Errorf("it was asked for %v", log)
		}
	}
	run(t, c)
}
