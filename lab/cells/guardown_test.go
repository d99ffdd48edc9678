package cells

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"watertight/lab"
	"watertight/lab/internet"
	"watertight/wire"
)

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
