package watch_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"watertight/lab"
	"watertight/leaktest/watch"
	"watertight/wire"
)

func TestMain(m *testing.M) {
	lab.Main(m,
		lab.Role{Name: "watching", Run: watching},
		lab.Role{Name: "blind", Run: blind},
		lab.Role{Name: "asking", Run: asking})
}

// watching begins to watch, says who its observer is, and waits to be killed.
func watching([]string) int {
	w, err := watch.Start(context.Background(), watch.Options{Labels: func() []string { return nil }})
	if err != nil {
		return 1
	}
	fmt.Println(w.PID())
	time.Sleep(time.Minute)
	return 0
}

// blind watches for a moment, and prints what it could not see.
func blind([]string) int {
	w, err := watch.Start(context.Background(), watch.Options{Labels: func() []string { return nil }})
	if err != nil {
		return 1
	}
	seen, err := w.Stop()
	if err != nil {
		return 1
	}
	fmt.Println(seen.Blind)
	return 0
}

// asking is another program of this host: it sends a datagram, says so, and keeps its socket until its input ends.
func asking(args []string) int {
	conn, err := wire.DialContained("udp", netip.MustParseAddrPort(args[0]))
	if err != nil {
		return 1
	}
	if _, err := conn.Write([]byte("anything")); err != nil {
		return 1
	}
	fmt.Println("sent")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// uplinked gives the test's network an interface by which everything leaves, to nobody.
func uplinked(t *testing.T) {
	t.Helper()
	lab.Inside(t)
	const name, peer = "up0", "up1"
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	for _, one := range []string{name, peer} {
		if err := netlink.LinkSetUp(lab.Must(netlink.LinkByName(one))(t)); err != nil {
			t.Fatal(err)
		}
	}
	up := lab.Must(netlink.LinkByName(name))(t).Attrs().Index
	for _, ends := range [][3]string{{"203.0.113.2/24", "203.0.113.1", "0.0.0.0/0"}, {"2001:db8:77::2/64", "2001:db8:77::1", "::/0"}} {
		addr := lab.Must(netlink.ParseAddr(ends[0]))(t)
		if addr.IP.To4() == nil {
			addr.Flags = 0x02 // IFA_F_NODAD: it can be used at once
		}
		gateway := net.ParseIP(ends[1])
		for _, err := range []error{
			netlink.AddrAdd(link, addr),
			netlink.NeighAdd(&netlink.Neigh{LinkIndex: up, IP: gateway, State: netlink.NUD_PERMANENT, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}),
			netlink.RouteAdd(&netlink.Route{LinkIndex: up, Gw: gateway, Dst: lab.Must(netlink.ParseIPNet(ends[2]))(t)}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// send sends one datagram, and closes the socket.
func send(t *testing.T, to string, payload []byte) {
	t.Helper()
	conn, err := wire.DialContained("udp", netip.MustParseAddrPort(to))
	if err != nil {
		t.Fatalf("%s: %v", to, err)
	}
	defer conn.Close()
	if _, err := conn.Write(payload); err != nil {
		t.Fatalf("%s: %v", to, err)
	}
}

// speak connects to somebody who listens on this host, and sends parts of a stream, each as a segment of its own.
func speak(t *testing.T, to string, parts ...[]byte) {
	t.Helper()
	l := lab.Must(wire.ListenTCP(netip.MustParseAddrPort(to)))(t)
	defer l.Close()
	conn, err := wire.DialContained("tcp", netip.MustParseAddrPort(to))
	if err != nil {
		t.Fatalf("%s: %v", to, err)
	}
	defer conn.Close()
	there := lab.Must(l.Accept())(t)
	defer there.Close()
	for _, p := range parts {
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := there.Read(make([]byte, len(p))); err != nil {
			t.Fatal(err)
		}
	}
}
