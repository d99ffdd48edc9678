package cells

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"watertight/capture"
	"watertight/contain"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/wire"
)

// networkBehind joins a network of its own to the client's host, as a container has one.
func networkBehind(t testing.TB, s *lab.Scene, device, here, there string) *contain.Net {
	t.Helper()
	space := lab.Must(contain.NewNet())(t)
	t.Cleanup(func() { _ = space.Close() })
	link := func(name, address string) error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, a); err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}
	lab.Must(0, s.Client.Do(func() error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: device}, PeerName: "eth0", PeerNamespace: netlink.NsFd(space.FD())}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		return link(device, here)
	}))(t)
	lab.Must(0, space.Do(func() error { return link("eth0", there) }))(t)
	return space
}

// route leads a network by a gateway, in the calling thread's network.
func route(device, to, by string) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	_, network, err := net.ParseCIDR(to)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: network, Gw: net.ParseIP(by)})
}

// sends sends a datagram, where it may.
func sends(do func(func() error) error, to netip.AddrPort, mark uint32, text string) error {
	return do(func() error {
		conn, err := wire.Dialer{Mark: mark}.DialPacketAddr(context.Background(), to)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte(text))
		return err
	})
}

func sawText(t testing.TB, s *lab.Scene, text string) bool {
	t.Helper()
	return len(capture.Search(lab.Must(s.Packets())(t), text)) > 0
}

// TestGuard_WhatIsPassedOnAndWhatIsAllowed plays a container behind the host, and networks that everybody may reach: those pass,
// but for ports at which names are asked for; and a port of the container that is open to the outside stays so.
func TestGuard_WhatIsPassedOnAndWhatIsAllowed(t *testing.T) {
	lab.Need(t, "nft")
	s := lab.NewScene(t, internet.Dual)
	lab.Must(0, s.Client.Forward())(t)
	container := networkBehind(t, s, "inner", "10.9.0.1/24", "10.9.0.2/24")
	lab.Must(0, container.Do(func() error { return route("eth0", "0.0.0.0/0", "10.9.0.1") }))(t)
	publish := s.Client.Program("nft", "-f", "-")
	publish.Stdin = []byte("table ip publish {\n chain pre {\n type nat hook prerouting priority -100\n tcp dport 2223 dnat to 10.9.0.2:2222\n }\n}\n")
	succeeds(t, publish)
	var published *net.TCPListener
	lab.Must(0, container.Do(func() (err error) {
		published, err = wire.ListenTCP(netip.MustParseAddrPort("10.9.0.2:2222"))
		return err
	}))(t)
	t.Cleanup(func() { _ = published.Close() })

	origin, stranger, n := s.Origin.Addr4, netip.MustParseAddr("8.8.8.8"), 0
	try := func(from string, do func(func() error) error, to netip.Addr, port uint16, passes bool) {
		t.Helper()
		n++
		text := fmt.Sprintf("%sq%dq", s.Label, n)
		err := sends(do, netip.AddrPortFrom(to, port), 0, text)
		if saw := sawText(t, s, text); saw != passes {
			t.Errorf("%s to %v, port %d: seen outside: %v (%v)", from, to, port, saw, err)
		}
	}
	for _, to := range []netip.Addr{origin, stranger} { // the control
		try("the container", container.Do, to, 4433, true)
		try("the container", container.Do, to, 853, true)
		try("the host", s.Client.Do, to, 853, true)
	}
	g := guarded(t, s, netip.PrefixFrom(origin, 24).Masked(), netip.PrefixFrom(s.Origin.Addr6, 64).Masked(), netip.MustParsePrefix("10.9.0.0/24"))
	for from, do := range map[string]func(func() error) error{"the container": container.Do, "the host": s.Client.Do} {
		try(from, do, origin, 4433, true)
		try(from, do, origin, 853, false)
		try(from, do, stranger, 4433, false)
		try(from, do, stranger, 853, false)
	}
	try("the host", s.Client.Do, s.Origin.Addr6, 4433, true)
	try("the host", s.Client.Do, s.Origin.Addr6, 853, false)
	if _, err := s.Client.Ask(netip.AddrPortFrom(origin, 53), []byte(s.Label+"plain")); err == nil || sawText(t, s, s.Label+"plain") {
		t.Errorf("plain DNS passes to where all else may go: %v", err)
	}
	logsInAt(t, s, published, netip.AddrPortFrom(s.Client.Addr4, 2223)).works(t, "the container's port, from outside")
	if c := look(t, s, g).Counters; c.Forwarded == 0 || c.DNS == 0 || c.DoT == 0 || c.Other == 0 {
		t.Errorf("it counted %+v", c)
	}
}

// TestC3_GuardAndASecondInterface lets a second interface come, with a route that is more specific, as a server of DHCP may inject it
// (TunnelVision): only what has the mark goes there, though nobody had told the guard of it; and once it is told, frames do not either.
func TestC3_GuardAndASecondInterface(t *testing.T) {
	lab.Need(t, "nft")
	s := lab.NewScene(t, internet.Dual)
	to := netip.MustParseAddrPort("9.9.9.9:4433")
	comes := func() *net.UDPConn {
		t.Helper()
		space := networkBehind(t, s, "second", "198.51.100.1/24", "198.51.100.2/24")
		var l *net.UDPConn
		lab.Must(0, space.Do(func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(lo, lab.Must(netlink.ParseAddr(to.Addr().String()+"/32"))(t)); err != nil {
				return err
			}
			l, err = wire.ListenUDP(to)
			return err
		}))(t)
		t.Cleanup(func() { _ = l.Close() })
		lab.Must(0, s.Client.Do(func() error { return route("second", "9.9.9.0/24", "198.51.100.2") }))(t)
		return l
	}
	first := func(l *net.UDPConn) string {
		t.Helper()
		b := make([]byte, 100)
		lab.Must(0, l.SetDeadline(time.Now().Add(10*time.Second)))(t)
		n, _, err := l.ReadFromUDPAddrPort(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	l := comes()
	lab.Must(0, sends(s.Client.Do, to, 0, "unmarked"))(t)
	if got := first(l); got != "unmarked" {
		t.Fatalf("INVALID: without the guard it hears %q", got)
	}
	lab.Must(0, s.Client.Do(func() error {
		second, err := netlink.LinkByName("second")
		if err != nil {
			return err
		}
		return netlink.LinkDel(second)
	}))(t)

	g := guarded(t, s)
	l = comes()
	if err := sends(s.Client.Do, to, 0, "unmarked"); err == nil {
		t.Error("a program is not told that it may not")
	}
	lab.Must(0, sends(s.Client.Do, to, ownMark, "marked"))(t)
	if got := first(l); got != "marked" {
		t.Errorf("LEAK: the second interface carries %q", got)
	}
	if state := look(t, s, g); state.Held || !strings.Contains(state.Why, "second") {
		t.Errorf("that it is not looked at is not seen: %+v", state)
	}
	if !restored(t, s, g) {
		t.Error("it was not armed again")
	}
	if state := look(t, s, g); !state.Held || strings.Join(state.Uplinks, " ") != "second uplink" || state.Counters.Other == 0 {
		t.Errorf("it is found to be %+v", state)
	}
}

// TestGuard_WithTheRulesThatHandOver has programs that know of no proxy served by the transparent door, in each of its modes, with
// the guard armed; and one whose packets are not handed over is not.
func TestGuard_WithTheRulesThatHandOver(t *testing.T) {
	lab.Need(t, "nft", "ip", "curl", "python3")
	for name, families := range map[string]internet.Families{"redirect": internet.Dual, "tproxy": internet.V4, "tproxy over IPv6": internet.V6} {
		t.Run(name, func(t *testing.T) {
			mode, _, _ := strings.Cut(name, " ")
			s, _ := packetScene(t, families)
			handsOver(t, s, mode, firewalls(t)[mode], "policy: {client_resolved: refuse}\n")
			g := guarded(t, s)
			r := succeeds(t, unaware(s))
			if mode == "tproxy" {
				if r := lab.Run(t, s.Client.Program("python3", "-I", "-c", plainUDP, s.Canary)); !strings.Contains(r.Stdout, "answered") {
					t.Errorf("a datagram is not answered: %s", r.Text())
				}
			}
			if state := look(t, s, g); !state.Held || state.Counters.DNS != 0 {
				t.Errorf("it is found to be %+v", state)
			}
			gone := s.Client.Program("nft", "delete", "table", "inet", "watertight")
			succeeds(t, gone)
			if r := lab.Run(t, unaware(s)); r.Code == 0 {
				t.Errorf("what is not handed over passes: %s", r.Text())
			}
			if c := look(t, s, g).Counters; c.DNS == 0 {
				t.Errorf("it counted %+v", c)
			}
			e := s.Gather(t, r)
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			if !e.Delivered {
				t.Errorf("the call did not arrive: %s", e.Client.Text())
			}
		})
	}
}
