package cells

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"watertight/contain"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/wire"
)

// claims has who is behind a device connect to the client's host from an address of somebody else.
func claims(t testing.TB, behind *contain.Net, from netip.Addr, to netip.AddrPort) {
	t.Helper()
	one := func(a netip.Addr) *net.IPNet {
		return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
	}
	lab.Must(0, behind.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		device, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.AddrReplace(lo, &netlink.Addr{IPNet: one(from)}); err != nil {
			return err
		}
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: device.Attrs().Index, Dst: one(to.Addr()), Src: from.AsSlice(), Scope: netlink.SCOPE_LINK}); err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer stop()
		if conn, err := (wire.Dialer{}).DialAddr(ctx, to); err == nil {
			_ = conn.Close()
			t.Error("INVALID: who is answered elsewhere is connected")
		}
		return nil
	}))(t)
}

// saidHello says whether the client's host has told somebody at an address that it listens.
func saidHello(t testing.TB, s *lab.Scene, to netip.Addr, since time.Time) bool {
	t.Helper()
	for _, p := range lab.Must(s.Packets())(t) {
		if p.Point == "client" && p.Outgoing && p.To.Addr() == to && p.From.Port() == loginPort && p.Time.After(since) {
			return true
		}
	}
	return false
}

// TestGuard_WhoComesByAnUplinkIsAnswered lets a login come by another uplink than its answers leave by, which goes on, and a container
// claim to be a stranger, to whom the host would say something in its place.
func TestGuard_WhoComesByAnUplinkIsAnswered(t *testing.T) {
	t.Parallel()
	lab.Need(t, "nft")
	s := lab.NewScene(t, internet.V4)
	l := lab.Must(s.Client.Listen(loginPort))(t)
	t.Cleanup(func() { _ = l.Close() })
	second := networkBehind(t, s, "second", "198.51.100.1/24", "198.51.100.2/24")
	inner := networkBehind(t, s, "inner", "10.9.0.1/24", "10.9.0.2/24")
	lab.Must(0, s.Client.Do(func() error { return route("second", "9.9.9.0/24", "198.51.100.2") }))(t)
	// Each try is from other addresses: those of before the guard are still told of what they began.
	try := func(guest, liar netip.Addr) (theGuest, theLiar bool) {
		t.Helper()
		began := time.Now()
		claims(t, second, guest, netip.MustParseAddrPort("198.51.100.1:2222"))
		claims(t, inner, liar, netip.MustParseAddrPort("10.9.0.1:2222"))
		return saidHello(t, s, guest, began), saidHello(t, s, liar, began)
	}
	if theGuest, theLiar := try(netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("8.8.4.5")); !theGuest || !theLiar {
		t.Fatalf("INVALID: without the guard, by an uplink: %v, by a container: %v", theGuest, theLiar)
	}
	guarded(t, s)
	theGuest, theLiar := try(netip.MustParseAddr("8.8.4.6"), netip.MustParseAddr("8.8.4.7"))
	if !theGuest {
		t.Error("who comes by an uplink, and is answered by another, is not answered")
	}
	if theLiar {
		t.Error("LEAK: a container has the host answer a stranger")
	}
}

// ownByDevice sends a datagram to an address of this host by a device, as any user may.
const ownByDevice = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
s.sendto(b"own", (sys.argv[2], 4433))
`

// TestGuard_WhatIsForThisHostDoesNotLeaveIt has a program send to an address of the host by a device that is no uplink, behind
// which somebody has the same address.
func TestGuard_WhatIsForThisHostDoesNotLeaveIt(t *testing.T) {
	t.Parallel()
	lab.Need(t, "nft", "python3")
	s := lab.NewScene(t, internet.V4)
	inner := networkBehind(t, s, "inner", "10.9.0.1/24", "10.9.0.2/24")
	var l *net.UDPConn
	lab.Must(0, inner.Do(func() (err error) {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(lo, lab.Must(netlink.ParseAddr(s.Client.Addr4.String()+"/32"))(t)); err != nil {
			return err
		}
		l, err = wire.ListenUDP(netip.AddrPortFrom(s.Client.Addr4, 4433))
		return err
	}))(t)
	t.Cleanup(func() { _ = l.Close() })
	hears := func(d time.Duration) bool {
		lab.Must(0, l.SetDeadline(time.Now().Add(d)))(t)
		_, _, err := l.ReadFromUDPAddrPort(make([]byte, 100))
		return err == nil
	}
	sends := func() internet.Result {
		return lab.Run(t, s.Client.Program("python3", "-I", "-c", ownByDevice, "inner", s.Client.Addr4.String()))
	}
	if r := sends(); r.Code != 0 || !hears(10*time.Second) {
		t.Fatalf("INVALID: without the guard it is not heard: %s", r.Text())
	}
	g := guarded(t, s)
	before := look(t, s, g).Counters.Other
	if r := sends(); r.Code == 0 || hears(300*time.Millisecond) {
		t.Errorf("LEAK: it leaves this host: %s", r.Text())
	}
	if after := look(t, s, g).Counters.Other; after == before {
		t.Error("it is not counted")
	}
}

// taggedDHCP asks for an address of VLAN 7 as a DHCP client does on a device of that VLAN, by a frame.
const taggedDHCP = `
import socket, struct
udp = struct.pack("!HHHH", 68, 67, 8 + 240, 0) + b"\1\1\6\0" + bytes(236)
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0x10, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("uplink", 0x8100))
s.send(b"\xff" * 6 + b"\2\0\0\0\0\1" + struct.pack("!HHH", 0x8100, 7, 0x800) + ip + udp)
`

// TestGuard_AVLANGetsItsAddress has a client of DHCP ask over a VLAN; what else is in such frames is among the ways of
// TestGuard_NothingOfThisHostsProgramsPasses.
func TestGuard_AVLANGetsItsAddress(t *testing.T) {
	t.Parallel()
	lab.Need(t, "nft", "python3")
	s := lab.NewScene(t, internet.V4)
	g := guarded(t, s)
	succeeds(t, s.Client.Program("python3", "-I", "-c", taggedDHCP))
	if raw := look(t, s, g).Counters.Raw; raw != 0 {
		t.Errorf("%d frames were refused", raw)
	}
}
