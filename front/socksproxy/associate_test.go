package socksproxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/name"
	"watertight/route"
	"watertight/socks"
)

// DialPacket leads every target to the origin of datagrams.
func (in *inside) DialPacket(_ context.Context, r route.Request) (net.Conn, error) {
	in.remember(r)
	if r.Target == in.refused {
		return nil, fault.New(fault.PolicyForeignResolver, "no", nil)
	}
	return net.Dial("udp", in.packets)
}

func (in *inside) count() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.asked)
}

func (in *inside) CarriesPackets() bool { return in.packets != "" }

// echoPackets answers each datagram with itself.
func echoPackets(t *testing.T) string {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = socket.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	return socket.LocalAddr().String()
}

// associated asks for an association and gives its connection and the address of the relay.
func associated(t *testing.T, in *inside, request string) (*net.TCPConn, netip.AddrPort) {
	t.Helper()
	conn := open(t, in, 0)
	send(t, conn, "\x05\x01\x00"+request)
	expect(t, conn, "\x05\x00\x05\x00\x00\x01")
	rest := make([]byte, 6)
	if _, err := io.ReadFull(conn, rest); err != nil {
		t.Fatal(err)
	}
	return conn, netip.AddrPortFrom(netip.AddrFrom4([4]byte(rest)), binary.BigEndian.Uint16(rest[4:]))
}

const associate = "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"

func socket(t *testing.T, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // only so that a broken test ends
	return c
}

func hears(t *testing.T, c *net.UDPConn, want string) {
	t.Helper()
	b := make([]byte, 65536)
	if n, err := c.Read(b); err != nil || string(b[:n]) != want {
		t.Fatalf("heard %q, %v; want %q", b[:n], err, want)
	}
}

const (
	toName = "\x00\x00\x00\x03\x0cVoip.EXAMPLE\x13\xc4"
	toFour = "\x00\x00\x00\x01\xcb\x00\x71\x07\x13\xc4"
	toSix  = "\x00\x00\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x13\xc4"
)

func TestDatagramsGoOutByTheirHeaderAndComeBackUnderIt(t *testing.T) {
	in := &inside{packets: echoPackets(t)}
	conn, at := associated(t, in, associate)
	if at.Addr().String() != "127.0.0.1" {
		t.Errorf("the relay is at %v, not where the client came", at)
	}
	client := socket(t, at)
	for header, want := range map[string]string{toName: "voip.example:5060", toFour: "203.0.113.7:5060", toSix: "[2001:db8::7]:5060"} {
		for _, payload := range []string{"hello", "", strings.Repeat("x", 9000)} {
			send(t, client, header+payload)
			hears(t, client, header+payload)
		}
		r := in.lastAsked(t)
		if r.Target != name.Must(want) || r.Door != event.DoorSOCKS5UDP || r.Client.String() != conn.LocalAddr().String() {
			t.Errorf("asked for %+v, want %s", r, want)
		}
	}
	if in.count() != 3 {
		t.Errorf("three targets made %d flows", in.count())
	}
}

func TestAnAssociationEndsWithItsConnection(t *testing.T) {
	in := &inside{packets: echoPackets(t)}
	door := newDoor(t, in, 0)
	ended := make(chan struct{})
	at := listen(t, func(conn *net.TCPConn) {
		door.ServeConn(context.Background(), guestOf(conn), nil)
		close(ended)
	})
	conn := dial(t, at)
	send(t, conn, "\x05\x01\x00"+associate)
	head := make([]byte, 12)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	relay := netip.AddrPortFrom(netip.AddrFrom4([4]byte(head[6:])), binary.BigEndian.Uint16(head[10:]))
	client := socket(t, relay)
	send(t, client, toFour+"hello")
	hears(t, client, toFour+"hello")
	send(t, conn, "what is said here means nothing")
	conn.Close()
	<-ended
	if _, err := client.Write([]byte(toFour + "hello")); err == nil {
		if _, err = client.Read(head); err == nil {
			t.Error("the socket is still there")
		}
	}
	if door.flows.Used() != 0 || len(in.tunnels) != 1 || in.tunnels[0].Up != 5 || in.tunnels[0].Down != 5 {
		t.Errorf("%d flows are left, and reported was %+v", door.flows.Used(), in.tunnels)
	}
}

func TestAnotherPortCannotTakeAnAssociationOver(t *testing.T) {
	in := &inside{packets: echoPackets(t)}
	door := newDoor(t, in, 0)
	at := listen(t, func(conn *net.TCPConn) { door.ServeConn(context.Background(), guestOf(conn), nil) })
	conn := dial(t, at)
	send(t, conn, "\x05\x01\x00"+associate)
	head := make([]byte, 12)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	relay := netip.AddrPortFrom(netip.AddrFrom4([4]byte(head[6:])), binary.BigEndian.Uint16(head[10:]))
	client, thief := socket(t, relay), socket(t, relay)
	send(t, thief, "junk fixes no port")
	send(t, client, toFour+"mine")
	hears(t, client, toFour+"mine")
	send(t, thief, toFour+"stolen")
	send(t, thief, "junk")
	far, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, net.UDPAddrFromAddrPort(relay)) // another host
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	send(t, far, toFour+"stolen")
	send(t, client, toFour+"mine again") // on the same socket: the thief's was taken, or dropped, before it
	hears(t, client, toFour+"mine again")
	if got := door.Dropped(); got != (Dropped{Malformed: 1, Strangers: 3}) || in.count() != 1 {
		t.Errorf("%+v, and %d flows", got, in.count())
	}
}

func TestThePortOfTheRequestIsTheClients(t *testing.T) {
	in := &inside{packets: echoPackets(t)}
	mine, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	_ = mine.SetDeadline(time.Now().Add(20 * time.Second)) // only so that a broken test ends
	port := uint16(mine.LocalAddr().(*net.UDPAddr).Port)
	_, at := associated(t, in, string(binary.BigEndian.AppendUint16([]byte(associate)[:8], port)))
	thief := socket(t, at)
	send(t, thief, toFour+"first")
	if _, err := mine.WriteToUDPAddrPort([]byte(toFour+"second"), at); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	if n, err := mine.Read(b); err != nil || string(b[:n]) != toFour+"second" {
		t.Errorf("heard %q, %v", b[:n], err)
	}
}

func TestFragmentsAreDropped(t *testing.T) {
	in := &inside{packets: echoPackets(t)}
	door := newDoor(t, in, 0)
	conn := dial(t, listen(t, func(conn *net.TCPConn) { door.ServeConn(context.Background(), guestOf(conn), nil) }))
	send(t, conn, "\x05\x01\x00"+associate)
	head := make([]byte, 12)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	client := socket(t, netip.AddrPortFrom(netip.AddrFrom4([4]byte(head[6:])), binary.BigEndian.Uint16(head[10:])))
	send(t, client, toFour+"whole")
	hears(t, client, toFour+"whole")
	for _, n := range []byte{1, 0x82} {
		fragment := []byte(toFour + "part")
		fragment[2] = n
		send(t, client, string(fragment))
	}
	send(t, client, toFour[:6])
	send(t, client, strings.Replace(toFour, "\x13\xc4", "\x00\x00", 1)+"no port")
	send(t, client, toFour+"whole again")
	hears(t, client, toFour+"whole again")
	if got := door.Dropped(); got != (Dropped{Fragments: 2, Malformed: 2}) {
		t.Errorf("%+v", got)
	}
}

func TestARefusedTargetIsAskedForOnceAndNothingComesBack(t *testing.T) {
	in := &inside{packets: echoPackets(t), refused: name.Must("203.0.113.7:5060")}
	conn, at := associated(t, in, associate)
	client := socket(t, at)
	for range 20 {
		send(t, client, toFour+"hello")
	}
	send(t, client, toSix+"hello")
	hears(t, client, toSix+"hello")
	if conn.Close(); in.count() != 2 {
		t.Errorf("twenty datagrams to one refused target and one to another asked %d times", in.count())
	}
}

func TestWhereNoChannelCarriesDatagramsTheRequestIsRefused(t *testing.T) {
	in := &inside{}
	conn := open(t, in, 0)
	send(t, conn, "\x05\x01\x00"+associate)
	expect(t, conn, "\x05\x00"+reply5(byte(socks.CommandUnsupported)))
	expectEnd(t, conn)
	if len(in.events) != 1 || in.events[0].Code != fault.HopRefused || in.events[0].Door != event.DoorSOCKS5UDP {
		t.Errorf("reported was %+v", in.events)
	}
}

func TestPySocksSendsDatagramsByName(t *testing.T) {
	const program = `
import sys
try:
    import socks, socket
except ImportError:
    print("no PySocks"); sys.exit(0)
s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
s.set_proxy(socks.SOCKS5, sys.argv[1], int(sys.argv[2]), rdns=True)
s.sendto(b"hello", ("voip.example.com", 5060))
print(s.recvfrom(100))
`
	in := &inside{packets: echoPackets(t)}
	host, port, err := net.SplitHostPort(serveDoor(t, in))
	if err != nil {
		t.Fatal(err)
	}
	out, err := runs(t, "python3", "-c", program, host, port)
	if strings.HasPrefix(out, "no PySocks") {
		t.Skip("PySocks is not installed")
	}
	if err != nil || !strings.Contains(out, "b'hello'") || !strings.Contains(out, "voip.example.com") {
		t.Fatalf("%v: %s", err, out)
	}
	if r := in.lastAsked(t); r.Target != name.Must("voip.example.com:5060") {
		t.Errorf("asked for %+v", r)
	}
}

func FuzzAssociation(f *testing.F) {
	for _, s := range []string{toName, toFour + "payload", toSix, "", "\x00\x00\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := socks.ParseDatagram(b)
		if err != nil {
			return
		}
		written := b[3 : len(b)-len(d.Payload)]
		again, err := socks.ParseDatagram(append(append([]byte{0, 0, 0}, written...), "reply"...))
		if err != nil || again.Host != d.Host || again.Port != d.Port || !bytes.Equal(again.Payload, []byte("reply")) {
			t.Errorf("%q would be answered under %q: %+v, %v", b, written, again, err)
		}
	})
}
