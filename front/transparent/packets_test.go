package transparent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"watertight/event"
	"watertight/lab/dnstest"
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
			said = dnstest.QUICHello(t, tt.says)
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
