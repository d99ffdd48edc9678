package hop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/socks"
)

// memory is a net in memory: what stands at a target, by name or address. What is not there refuses.
type memory struct {
	at map[string]func(net.Conn)
	// buffers says that connections hold octets in between, as sockets do: both ends of TLS may speak at once.
	buffers bool

	mu     sync.Mutex
	dialed []string
}

func (m *memory) dial(to string) (net.Conn, error) {
	m.mu.Lock()
	m.dialed = append(m.dialed, to)
	m.mu.Unlock()
	serve, ok := m.at[to]
	if !ok {
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	near, far := net.Pipe()
	if m.buffers {
		near, far = dnstest.Pipe(netip.MustParseAddrPort("192.0.2.98:9"), netip.MustParseAddrPort("192.0.2.99:9"))
	}
	go func() {
		defer far.Close()
		serve(far)
	}()
	return near, nil
}

func (m *memory) DialAddr(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	return m.dial(to.String())
}

// Dial is what a channel underneath does: it takes names too.
func (m *memory) Dial(ctx context.Context, t name.Target) (net.Conn, error) {
	conn, err := m.dial(t.String())
	if err != nil {
		return nil, ofGround(ctx, netip.MustParseAddrPort("192.0.2.99:9"), err)
	}
	return conn, nil
}

func (m *memory) targets() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.dialed...)
}

// echo is an origin.
func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }

// silent accepts, listens and never says a word.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// says waits for the client's first octets, speaks, and is silent.
func says(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, answer)
		silent(conn)
	}
}

// script plays a server: it reads as many octets as the first text has and compares them, says the second, and so on.
// At the end it closes the connection.
func script(t *testing.T, texts ...string) func(net.Conn) {
	return func(conn net.Conn) {
		for i, text := range texts {
			if i%2 == 1 {
				_, _ = io.WriteString(conn, text)
				continue
			}
			got := make([]byte, len(text))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
				t.Errorf("the hop heard %q, %v; want %q", got, err, text)
				return
			}
		}
	}
}

// socksProxy is a SOCKS server on the net.
func (m *memory) socksProxy(conn net.Conn) {
	req, early, err := socks.ReadRequest(conn, nil, new(socks.Buffer), socks.Everyone{})
	if err != nil {
		return
	}
	t, err := name.New(req.Host, req.Port)
	if err != nil {
		return
	}
	far, err := m.dial(t.String())
	if err != nil {
		_, _ = conn.Write(req.AppendReply(nil, socks.ConnectionRefused, netip.AddrPort{}))
		return
	}
	_, _ = conn.Write(req.AppendReply(nil, socks.Succeeded, netip.AddrPort{}))
	join(conn, far, bytes.NewReader(early))
}

// httpProxy is an HTTP proxy on the net. It takes user `u` with password `p`, if any.
func (m *memory) httpProxy(conn net.Conn) {
	head := readHead(conn)
	req, err := http.NewRequest("CONNECT", "http://"+head[len("CONNECT "):bytes.IndexByte([]byte(head), 'H')-1], nil)
	if err != nil {
		return
	}
	far, err := m.dial(req.URL.Host)
	if err != nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: p; error=connection_refused\r\n\r\n")
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	join(conn, far, bytes.NewReader(nil))
}

func readHead(conn net.Conn) string {
	var head []byte
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if _, err := conn.Read(one); err != nil {
			break
		}
		head = append(head, one[0])
	}
	return string(head)
}

func join(near, far net.Conn, early io.Reader) {
	go func() {
		_, _ = io.Copy(far, io.MultiReader(early, near))
		far.Close()
	}()
	_, _ = io.Copy(near, far)
}

var errNoLookup = errors.New("nothing may be looked up here")

func noLookup(context.Context, string) ([]netip.Addr, error) { return nil, errNoLookup }

// under is a channel underneath.
func under(first Dialer, lookup func(context.Context, string) ([]netip.Addr, error)) Under {
	return Under{First: first, Lookup: lookup, Now: time.Now}
}

func mustProxies(t *testing.T, urls ...string) []Proxy {
	t.Helper()
	var proxies []Proxy
	for _, u := range urls {
		p, err := ParseProxy(u)
		if err != nil {
			t.Fatal(err)
		}
		proxies = append(proxies, p)
	}
	return proxies
}
