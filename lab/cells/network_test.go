package cells

import (
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

// TestC3_NetworkChange lets the host of the proxy get another address or another link: what was answered before is
// asked for anew, over new connections that resume no session, and an open tunnel is not touched. The control: without a
// change nothing is asked for again, and a session is resumed.
func TestC3_NetworkChange(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		play(t, "C3/an address comes/"+string(families), changes(families, dot, addAddress))
	}
	play(t, "C3/a link comes/doh", changes(internet.Dual, doh, addLink))
}

func changes(families internet.Families, config func(*lab.Scene) string, change func(h *internet.Host, i int) error) lab.Cell {
	return lab.Cell{Families: families, Start: with(config), After: func(t testing.TB, s *lab.Scene) {
		ask, end := openTunnel(t, s)
		defer end()
		ask()
		once := positively(s)
		for range 3 {
			served(t, s, s.Canary)
		}
		if n := positively(s); n != once || once == 0 {
			t.Fatalf("without a change it was asked for %d times, then %d times", once, n)
		}
		for _, server := range sides(s) {
			server.DropConns()
		}
		served(t, s, other(s, "control"))
		before := 0
		resumed := false
		for _, server := range sides(s) {
			before = max(before, server.Conns())
			for _, q := range server.Log() {
				resumed = resumed || q.Resumed
			}
		}
		if !resumed {
			t.Error("no session is ever resumed, so that this cell proves nothing")
		}
		i := 0 // the proxy may begin to watch only after the first change
		await(t, "the name to be asked for again", func() bool {
			if i++; i < 200 {
				lab.Must(0, change(s.Client, i))(t)
			}
			served(t, s, s.Canary)
			return positively(s) > once
		})
		for _, server := range sides(s) {
			for _, q := range server.Log() {
				if q.Name == s.Canary && q.Conn > before && q.Resumed {
					t.Error("the new connection resumed a session of the network before")
				}
			}
		}
		ask()
	}}
}

// positively says how often the canary's addresses of a family that it has were asked for. That it has none of the other
// family is kept for a second only.
func positively(s *lab.Scene) int {
	if !s.Client.Addr4.IsValid() {
		return s.Resolver.Count(s.Canary, dnswire.AAAA)
	}
	return s.Resolver.Count(s.Canary, dnswire.A)
}

func sides(s *lab.Scene) []*dnstest.Server { return []*dnstest.Server{s.Resolver.DoT, s.Resolver.DoH} }

func addAddress(h *internet.Host, i int) error {
	return h.Do(func() error {
		link, err := netlink.LinkByName("uplink")
		if err != nil {
			return err
		}
		text := fmt.Sprintf("198.51.100.%d/32", i)
		if !h.Addr4.IsValid() {
			text = fmt.Sprintf("2001:db8:1::%d/128", i)
		}
		addr, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(link, addr)
	})
}

// addLink makes a second interface, whose address nothing else has.
func addLink(h *internet.Host, i int) error {
	return h.Do(func() error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprint("second", i)}, PeerName: fmt.Sprint("peer", i)}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(fmt.Sprintf("198.51.%d.1/24", i))
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(pair, addr); err != nil {
			return err
		}
		return netlink.LinkSetUp(pair)
	})
}
