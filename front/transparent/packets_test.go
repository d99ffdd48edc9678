package transparent

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"watertight/event"
	"watertight/name"
	"watertight/route"
)

// packets is inside for datagrams: it remembers what it is asked for, and carries none.
type packets struct{ *inside }

func (p packets) DialPacket(_ context.Context, r route.Request) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r)
	return nil, errors.New("none here")
}

// outbox is a socket that keeps what is sent, and gives up after so many.
type outbox struct {
	net.PacketConn
	enough func()
	once   sync.Once
	closed chan struct{}

	mu   sync.Mutex
	sent [][]byte
}

func (o *outbox) WriteTo(b []byte, _ net.Addr) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sent = append(o.sent, slices.Clone(b)); len(o.sent) == 2 { // a hello of today fills two
		o.enough()
	}
	return len(b), nil
}

func (o *outbox) ReadFrom([]byte) (int, net.Addr, error) {
	<-o.closed
	return 0, nil, net.ErrClosed
}

// SetReadDeadline is how QUIC stops reading.
func (o *outbox) SetReadDeadline(time.Time) error {
	o.once.Do(func() { close(o.closed) })
	return nil
}

func (o *outbox) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50000} }

// quicHello gives the first datagrams of a client of QUIC.
func quicHello(t *testing.T, host string) [][]byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := &outbox{enough: cancel, closed: make(chan struct{})}
	transport := &quic.Transport{Conn: o}
	_, err := transport.Dial(ctx, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 443}, &tls.Config{ServerName: host, NextProtos: []string{"h3"}}, nil)
	transport.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil || len(o.sent) < 2 {
		t.Fatalf("%d datagrams, %v", len(o.sent), err)
	}
	return o.sent[:2]
}

func TestAFlowIsForTheNameThatItsHelloOfQUICSays(t *testing.T) {
	client := netip.MustParseAddrPort("192.0.2.9:40000")
	for title, tt := range map[string]struct {
		given []string
		says  string // empty: something else than QUIC
		want  string
	}{
		"one of several that were given": {[]string{"api.one", "web.two"}, "web.two", "web.two:443"},
		"another than was given":         {[]string{"api.one"}, "web.two", "web.two:443"},
		"none was given":                 {nil, "web.two", "web.two:443"},
		"none was given, and no QUIC":    {nil, "", meant},
		"one was given, and no QUIC":     {[]string{"api.one"}, "", "api.one:443"},
	} {
		in := &inside{given: given(tt.given...)}
		door, err := New(Options{
			Dialer: packets{in}, Relay: in.relay, Sink: in, Logger: slog.New(slog.DiscardHandler), Connections: 9, Flows: 9,
			Own: func(_, _ netip.AddrPort) bool { return false }, Stands: StandsForNone, Door: event.DoorTransparent, PacketDoor: event.DoorTransparentUDP,
		})
		if err != nil {
			t.Fatal(err)
		}
		said := [][]byte{[]byte("ping")}
		if tt.says != "" {
			said = quicHello(t, tt.says)
		}
		next := func(context.Context) ([]byte, bool) {
			if len(said) == 0 {
				return nil, false
			}
			b := said[0]
			said = said[1:]
			return b, true
		}
		var back *net.UDPConn
		_, err = door.openFlow(t.Context(), pair{client, netip.MustParseAddrPort(meant)}, next, func(netip.AddrPort) (*net.UDPConn, error) {
			back, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			return back, err
		})
		want := route.Request{Door: event.DoorTransparentUDP, Client: client, Original: netip.MustParseAddr("203.0.113.7"), Target: name.Must(tt.want)}
		if asked := in.requests(); err == nil || len(asked) != 1 || asked[0] != want {
			t.Errorf("%s: %v, asked for %+v", title, err, asked)
		}
		if _, err := back.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the socket for replies is left open: %v", title, err)
		}
	}
}

func TestAConnectionInClearIsForTheHostThatItsRequestNames(t *testing.T) {
	in := &inside{origin: echo(t), given: given("api.one", "web.two")}
	conn := in.meantFor(t, "203.0.113.7:80", nil)
	says(t, conn, []byte("GET / HTTP/1.1\r\nHost: web.two\r\n\r\n"))
	if asked := in.requests(); len(asked) != 1 || asked[0].Target != name.Must("web.two:80") {
		t.Errorf("asked for %+v", asked)
	}
}
