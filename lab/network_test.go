package lab

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"watertight/lab/internet"
	"watertight/wire"
)

// TestEveryRealChangeOfAHostsNetworkIsTold lets the kernel say what the tests of package wire say for it.
func TestEveryRealChangeOfAHostsNetworkIsTold(t *testing.T) {
	in := New(t, internet.Dual)
	h := in.Client
	ctx, stop := context.WithCancel(t.Context())
	told, ended := make(chan struct{}, 64), make(chan error, 1)
	go func() {
		ended <- h.Do(func() error { return wire.WatchNetwork(ctx, func() { told <- struct{}{} }) })
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	uplink := func() netlink.Link { return Must(netlink.LinkByName("uplink"))(t) }
	addr := func(s string) *netlink.Addr { return Must(netlink.ParseAddr(s))(t) }
	via := func(dst, gw string) *netlink.Route {
		p := netip.MustParsePrefix(dst)
		return &netlink.Route{LinkIndex: uplink().Attrs().Index, Dst: Must(netlink.ParseIPNet(p.String()))(t), Gw: netip.MustParseAddr(gw).AsSlice()}
	}
	for i, step := range []struct {
		what string
		do   func() error
	}{
		{"a first change", func() error { return netlink.AddrAdd(uplink(), addr("198.51.100.9/32")) }},
		{"an address goes", func() error { return netlink.AddrDel(uplink(), addr("198.51.100.9/32")) }},
		{"an address of IPv6 comes", func() error { return netlink.AddrAdd(uplink(), addr("2001:db8::9/128")) }},
		{"a route is injected", func() error { return netlink.RouteAdd(via("0.0.0.0/1", "192.168.77.1")) }},
		{"it is replaced", func() error { return netlink.RouteReplace(via("0.0.0.0/1", "192.168.77.2")) }},
		{"and put back", func() error { return netlink.RouteReplace(via("0.0.0.0/1", "192.168.77.1")) }},
		{"it goes", func() error { return netlink.RouteDel(via("0.0.0.0/1", "192.168.77.1")) }},
		{"the link goes down", func() error { return netlink.LinkSetDown(uplink()) }},
		{"and up", func() error { return netlink.LinkSetUp(uplink()) }},
		{"a second link comes, with an address", func() error {
			second := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "second"}, PeerName: "peer"}
			if err := netlink.LinkAdd(second); err != nil {
				return err
			}
			if err := netlink.LinkSetUp(second); err != nil {
				return err
			}
			return netlink.AddrAdd(second, addr("198.51.100.10/24"))
		}},
		{"the second link goes", func() error { return netlink.LinkDel(Must(netlink.LinkByName("second"))(t)) }},
	} {
		// Before the first change is told, nobody knows whether the watch has begun.
		for again := true; again; again = i == 0 && again {
			if err := h.Do(step.do); err != nil {
				t.Fatalf("%s: %v", step.what, err)
			}
			select {
			case <-told:
				again = false
			case <-time.After(map[bool]time.Duration{true: 200 * time.Millisecond, false: 10 * time.Second}[i == 0]):
				if i > 0 {
					t.Fatalf("%s: nothing is told", step.what)
				}
				if err := h.Do(func() error { return netlink.AddrDel(uplink(), addr("198.51.100.9/32")) }); err != nil {
					t.Fatal(err)
				}
			}
		}
		quiet(told)
	}
}

// quiet waits until nothing more is told of a change.
func quiet(told <-chan struct{}) {
	for {
		select {
		case <-told:
		case <-time.After(time.Second):
			return
		}
	}
}
