package hop

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/name"
	"watertight/wire"
)

func TestTheGroundTakesNoName(t *testing.T) {
	m := &memory{}
	_, err := Direct(m).Dial(t.Context(), name.Must("a.example:443"))
	if fault.Of(err).Code != fault.Internal || len(m.targets()) > 0 {
		t.Errorf("got %v, dialled %v", err, m.targets())
	}
}

func TestNoGroundIsAFaultAndNoPanic(t *testing.T) {
	if _, err := Direct(nil).Dial(t.Context(), name.Must("192.0.2.1:443")); fault.Of(err).Code != fault.Internal {
		t.Errorf("got %v", err)
	}
}

type groundFunc func() (net.Conn, error)

func (f groundFunc) DialAddr(context.Context, netip.AddrPort) (net.Conn, error) { return f() }

func TestTheGroundSaysWhatWentWrongInACode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want fault.Code
	}{
		{syscall.ECONNREFUSED, fault.ConnectRefused},
		{syscall.ECONNRESET, fault.ConnectRefused},
		{syscall.ETIMEDOUT, fault.ConnectTimeout},
		{context.DeadlineExceeded, fault.ConnectTimeout},
		{syscall.ENETUNREACH, fault.ConnectUnreachable},
		{syscall.EHOSTUNREACH, fault.ConnectUnreachable},
		{syscall.EPERM, fault.ConnectUnreachable},
		{syscall.EMFILE, fault.Limit},
		{syscall.EADDRNOTAVAIL, fault.Limit},
		{wire.ErrPlainDNS, fault.PolicyForeignResolver},
		{fault.New(fault.NotReady, "as it is", nil), fault.NotReady},
	} {
		cause := &net.OpError{Op: "dial", Net: "tcp", Err: tt.err}
		_, err := Direct(groundFunc(func() (net.Conn, error) { return nil, cause })).Dial(t.Context(), name.Must("192.0.2.1:443"))
		if got := fault.Of(err).Code; got != tt.want {
			t.Errorf("%v: got %s", tt.err, got)
		}
	}
}

func TestAChainWithAPartMissingIsAnError(t *testing.T) {
	m := &memory{}
	good := mustProxies(t, "socks5://gw.example")
	for title, build := range map[string]func() (*Chained, error){
		"no dialer":        func() (*Chained, error) { return Chain(under(nil, noLookup), good) },
		"no look-up":       func() (*Chained, error) { return Chain(under(m, nil), good) },
		"no proxy":         func() (*Chained, error) { return Chain(under(m, noLookup), nil) },
		"too many proxies": func() (*Chained, error) { return Chain(under(m, noLookup), slices.Repeat(good, MaxProxies+1)) },
		"an empty proxy":   func() (*Chained, error) { return Chain(under(m, noLookup), make([]Proxy, 1)) },
		"a scheme of another package": func() (*Chained, error) {
			return Chain(under(m, noLookup), []Proxy{{Scheme: "ssh", Host: name.MustHost("a"), Port: 1}})
		},
		"no clock": func() (*Chained, error) { return Chain(Under{First: m, Lookup: noLookup}, good) },
	} {
		if d, err := build(); err == nil || d != nil {
			t.Errorf("%s: got %v, %v", title, d, err)
		}
	}
}

func TestTheLastProxyGetsTheTargetAsItIs(t *testing.T) {
	for _, proxies := range [][]string{
		{"socks5://gw.example"},
		{"socks5://u:p@gw.example"},
		{"http://gw.example:3128"},
		{"socks5://gw.example", "socks5://192.0.2.2"},
		{"socks5://gw.example", "http://192.0.2.2:3128"},
		{"http://gw.example:3128", "socks5://192.0.2.2"},
		{"http://gw.example:3128", "http://192.0.2.2:3128"},
		{"socks5://gw.example", "http://192.0.2.2:3128", "socks5://192.0.2.3"},
	} {
		for _, target := range []string{"api.example.com:443", "192.0.2.7:443", "[2001:db8::7]:443"} {
			t.Run(strings.Join(proxies, ",")+"/"+target, func(t *testing.T) {
				m := &memory{}
				m.at = map[string]func(net.Conn){
					"gw.example:1080": m.socksProxy, "gw.example:3128": m.httpProxy,
					"192.0.2.2:1080": m.socksProxy, "192.0.2.2:3128": m.httpProxy, "192.0.2.3:1080": m.socksProxy,
					target: echo,
				}
				chain, err := Chain(under(m, noLookup), mustProxies(t, proxies...))
				if err != nil {
					t.Fatal(err)
				}
				conn, err := chain.Dial(t.Context(), name.Must(target))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, ok := conn.(interface{ CloseWrite() error }); ok {
					t.Error("the connection is wrapped without need")
				}
				hears(t, conn, "through the tunnel")
				if dialed := m.targets(); dialed[len(dialed)-1] != target || len(dialed) != len(proxies)+1 {
					t.Errorf("dialled %v", dialed)
				}
			})
		}
	}
}

func hears(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	go func() { _, _ = io.WriteString(conn, text) }()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
		t.Errorf("the echo is %q, %v", got, err)
	}
}

func TestWhatAProxyHearsIsWhatTheStandardsSay(t *testing.T) {
	for _, tt := range []struct {
		proxy  string
		server func(net.Conn)
	}{
		{"socks5://gw.example:1080", script(t, "\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x03\x09a.example\x01\xbb", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")},
		{"socks5://u:p@gw.example:1080", script(t, "\x05\x01\x02", "\x05\x02", "\x01\x01u\x01p", "\x01\x00", "\x05\x01\x00\x03\x09a.example\x01\xbb", "\x05\x00\x00\x03\x04host\x00\x00")},
		{"socks4a://gw.example:1080", script(t, "\x04\x01\x01\xbb\x00\x00\x00\x01\x00a.example\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00")},
		{"socks4a://jo@gw.example:1080", script(t, "\x04\x01\x01\xbb\x00\x00\x00\x01jo\x00a.example\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00")},
		{"http://gw.example:1080", script(t, "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n")},
		{"http://u:p@gw.example:1080", script(t, "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n")},
	} {
		m := &memory{at: map[string]func(net.Conn){"gw.example:1080": func(conn net.Conn) {
			tt.server(conn)
			silent(conn) // the tunnel stands until the client closes it
		}}}
		chain, err := Chain(under(m, noLookup), mustProxies(t, tt.proxy))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := chain.Dial(t.Context(), name.Must("a.example:443"))
		if err != nil {
			t.Errorf("%s: %v", tt.proxy, err)
			continue
		}
		conn.Close()
	}
}

func TestAFarSideThatSpeaksFirstIsHeard(t *testing.T) {
	m := &memory{at: map[string]func(net.Conn){
		"gw.example:3128": func(conn net.Conn) {
			readHead(conn)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n220 hello\r\n")
			echo(conn)
		},
	}}
	chain, err := Chain(under(m, noLookup), mustProxies(t, "http://gw.example:3128"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chain.Dial(t.Context(), name.Must("a.example:25"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := make([]byte, len("220 hello\r\n"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "220 hello\r\n" {
		t.Errorf("heard %q, %v", got, err)
	}
	hears(t, conn, "and then the echo")
}

func TestASecondProxyIsHeardWhenItsFirstOctetsComeWithTheFirstProxysAnswer(t *testing.T) {
	// The first proxy's answer, the second's and the far side's greeting arrive as one.
	m := &memory{at: map[string]func(net.Conn){
		"gw.example:3128": func(conn net.Conn) {
			readHead(conn)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello")
			readHead(conn)
			echo(conn)
		},
	}}
	chain, err := Chain(under(m, noLookup), mustProxies(t, "http://gw.example:3128", "http://192.0.2.2:3128"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := chain.Dial(t.Context(), name.Must("a.example:25"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("heard %q, %v", got, err)
	}
	hears(t, conn, "echo")
}

func TestALaterProxyThatDoesNotResolveIsFinal(t *testing.T) {
	m := &memory{}
	m.at = map[string]func(net.Conn){"first.example:1080": m.socksProxy}
	for code, want := range map[fault.Code]fault.Code{
		fault.DNSNXDomain: fault.HopRefused, fault.DNSTimeout: fault.HopRefused,
		fault.NotReady: fault.NotReady, fault.ResolverUnreachable: fault.ResolverUnreachable,
	} {
		lookup := func(context.Context, string) ([]netip.Addr, error) { return nil, fault.New(code, "no", nil) }
		chain, err := Chain(under(m, lookup), mustProxies(t, "socks5://first.example", "http://second.example:3128"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = chain.Dial(t.Context(), name.Must("a.example:443"))
		if got := fault.Of(err).Code; got != want {
			t.Errorf("%s: got %s", code, got)
		}
	}
	if len(m.targets()) > 0 {
		t.Errorf("dialled %v", m.targets())
	}
}

func TestATunnelHasNoDeadlineLeft(t *testing.T) {
	for _, proxy := range []string{"socks5://gw.example:1", "http://gw.example:1"} {
		synctest.Test(t, func(t *testing.T) {
			m := &memory{}
			m.at = map[string]func(net.Conn){"gw.example:1": m.socksProxy, "a.example:443": echo}
			if strings.HasPrefix(proxy, "http") {
				m.at["gw.example:1"] = m.httpProxy
			}
			chain, err := Chain(under(m, noLookup), mustProxies(t, proxy))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			conn, err := chain.Dial(ctx, name.Must("a.example:443"))
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			hears(t, conn, "still there")
			conn.Close()
			synctest.Wait()
		})
	}
}

func TestASilentProxyIsGivenUpInTime(t *testing.T) {
	for _, tt := range []struct {
		proxy  string
		server func(net.Conn)
		limit  time.Duration // of the context; 0 for none
		took   time.Duration
		want   fault.Code
	}{
		{"socks5://gw.example:1", silent, 0, HandshakeLimit, fault.HopRefused},
		{"socks5://gw.example:1", says("\x05\x00"), 0, HandshakeLimit, fault.ConnectTimeout},
		{"http://gw.example:1", silent, 0, HandshakeLimit, fault.ConnectTimeout},
		{"http://gw.example:1", says("HTTP/1.1 200 OK\r\n"), 0, HandshakeLimit, fault.ConnectTimeout},
		{"socks5://gw.example:1", silent, time.Second, time.Second, fault.HopRefused},
		{"http://gw.example:1", silent, time.Second, time.Second, fault.ConnectTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &memory{at: map[string]func(net.Conn){"gw.example:1": tt.server}}
			chain, err := Chain(under(m, noLookup), mustProxies(t, tt.proxy))
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			if tt.limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.limit)
				defer cancel()
			}
			start := time.Now()
			_, err = chain.Dial(ctx, name.Must("a.example:443"))
			if got := fault.Of(err).Code; got != tt.want || time.Since(start) != tt.took {
				t.Errorf("%s: %v after %v", tt.proxy, err, time.Since(start))
			}
			synctest.Wait() // the far end of the pipe ends: the connection was closed
		})
	}
}

func TestACancelledHandshakeEndsAtOnceAndIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		m := &memory{at: map[string]func(net.Conn){"gw.example:1": func(conn net.Conn) {
			silent(conn)
			ended.Store(true)
		}}}
		chain, err := Chain(under(m, noLookup), mustProxies(t, "http://gw.example:1"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err = chain.Dial(ctx, name.Must("a.example:443"))
		if !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if !ended.Load() {
			t.Error("the connection to the proxy is still open")
		}
	})
}

func TestOverSocketsATunnelIsABareSocket(t *testing.T) {
	for _, tt := range []struct {
		answer string
		headed bool
	}{
		{"HTTP/1.1 200 OK\r\n\r\n", false},
		{"HTTP/1.1 200 OK\r\n\r\n220 hello\r\n", true},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			readHead(conn)
			_, _ = io.WriteString(conn, tt.answer)
			echo(conn)
		}()
		chain, err := Chain(under(Direct(wire.Dialer{}), noLookup), mustProxies(t, "http://"+listener.Addr().String()))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := chain.Dial(t.Context(), name.Must("a.example:25"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		switch c := conn.(type) {
		case *net.TCPConn:
			if tt.headed {
				t.Error("what the far side said first is lost")
			}
		case *wire.Headed:
			if head := string(c.TakeHead()); !tt.headed || head != "220 hello\r\n" {
				t.Errorf("head %q", head)
			}
		default:
			t.Errorf("got a %T", conn)
		}
		hears(t, conn, "echo")
	}
}
