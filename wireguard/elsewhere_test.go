package wireguard

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.zx2c4.com/wireguard/conn"

	"watertight/name"
)

func TestOnlyWhereAPeerMayBeIsItFollowed(t *testing.T) {
	public, private := netip.MustParseAddrPort("198.51.100.1:51820"), netip.MustParseAddrPort("192.168.7.1:51820")
	for _, c := range []struct {
		home netip.AddrPort
		from string
		may  bool
	}{
		{public, "203.0.113.9:4500", true},
		{public, "[2001:db8::9]:4500", true},
		{public, "10.0.0.1:51820", false},
		{public, "100.64.0.1:51820", false},
		{public, "127.0.0.1:51820", false},
		{public, "198.18.0.1:51820", false},
		{public, "255.255.255.255:51820", false},
		{public, "[64:ff9b::a00:1]:51820", false}, // 10.0.0.1 by NAT64
		{public, "[2002:a00:1::]:51820", false},   // 10.0.0.1 by 6to4
		{public, "[::1]:51820", false},
		{public, "[fe80::1]:51820", false},
		{public, "[fd00::1]:51820", false},
		{public, "203.0.113.9:53", false},
		{private, "203.0.113.9:5353", false},
		{public, "224.0.0.251:51820", false},
		{public, "0.0.0.0:51820", false},
		{public, "[64:ff9b::808:808]:51820", true},
		{netip.MustParseAddrPort("[64:ff9b::808:808]:51820"), "10.0.0.1:51820", false},
		{private, "10.0.0.1:51820", true},
		{private, "127.0.0.1:51820", false},
		{private, "[fe80::1]:51820", false},
		{netip.MustParseAddrPort("127.0.0.1:51820"), "[::1]:4500", true},
		{private, "203.0.113.9:51820", true},
	} {
		if got := mayFollow(c.home, netip.MustParseAddrPort(c.from)); got != c.may {
			t.Errorf("from %v to %v: %v", c.home, c.from, got)
		}
	}
}

// heard is a flow on which datagrams of others come, and which notes where it sends what.
type heard struct {
	net.Conn
	come chan netip.AddrPort
	to   netip.AddrPort
	sent []netip.AddrPort
}

func (h *heard) Write(b []byte) (int, error) { h.sent = append(h.sent, h.to); return len(b), nil }
func (h *heard) Close() error                { return nil }
func (h *heard) Turn(to netip.AddrPort) error {
	h.to = to
	return nil
}

func (h *heard) ReadWhom(b []byte) (int, netip.AddrPort, error) {
	from := <-h.come
	return copy(b, []byte{transportData, 0, 0, 0}), from, nil
}

func TestAFlowGoesWhereTheDeviceSendsAndNotWhereACookieWould(t *testing.T) {
	home, there, stranger := netip.MustParseAddrPort("198.51.100.1:51820"), netip.MustParseAddrPort("203.0.113.9:4500"), netip.MustParseAddrPort("203.0.113.66:66")
	h := &heard{to: home, come: make(chan netip.AddrPort, 3)}
	b := newBind([]Peer{{Endpoint: name.Must(home.String())}}, Way{DialPacket: func(context.Context, netip.AddrPort) (net.Conn, error) { return h, nil }})
	fns, _, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	data, cookie := [][]byte{{transportData, 0, 0, 0}}, [][]byte{{cookieReply, 0, 0, 0}}
	_ = b.Send(data, b.flows[0])
	b.flows[0].dials.Wait()
	receive := func(from netip.AddrPort) (ep []conn.Endpoint) {
		h.come <- from
		ep = make([]conn.Endpoint, 1)
		if _, err := fns[0]([][]byte{make([]byte, 64)}, make([]int, 1), ep); err != nil {
			t.Fatal(err)
		}
		return ep
	}
	of := receive(stranger)[0]
	_ = b.Send(cookie, of)              // the stranger has proven nothing
	_ = b.Send(data, b.flows[0])        // and the device goes on as before
	moved := receive(there)[0]          // this was the peer's, by what the device does now:
	_ = b.Send(data, moved)             //
	_ = b.Send(data, receive(there)[0]) // which is where the flow leads by now
	if want := []netip.AddrPort{home, home, there, there}; !slices.Equal(h.sent, want) {
		t.Errorf("sent to %v, want %v", h.sent, want)
	}
	// What is sent to a place that was learned on a flow which is gone takes the new one.
	h.come = nil
	next := &heard{to: home}
	b.flows[0].mu.Lock()
	b.flows[0].conn, b.flows[0].at = next, home
	b.flows[0].mu.Unlock()
	_ = b.Send(data, moved)
	if want := []netip.AddrPort{home}; !slices.Equal(next.sent, want) {
		t.Errorf("sent to %v, want %v", next.sent, want)
	}
}
