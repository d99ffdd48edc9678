package network_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"watertight/contain"
	"watertight/contain/network"
	"watertight/lab"
	"watertight/wire"
)

// Where IPv6 is switched off, a program has none, nothing of IPv6 leaves, and IPv4 is as ever.
func TestOpen_WhereIPv6IsSwitchedOffThereIsIPv4Alone(t *testing.T) {
	lab.Inside(t)
	n := lab.Must(contain.NewNet())(t)
	t.Cleanup(func() { n.Close() })
	var s network.Sockets
	if err := n.Do(func() (err error) {
		for _, which := range []string{"all", "default", "lo"} {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0); err != nil {
				return err
			}
		}
		s, err = network.Open()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if !s.Whole() || s.TCP6 != nil || s.UDP6 != nil || s.ICMP6 != nil {
		t.Fatalf("%+v", s)
	}
	to := netip.AddrPortFrom(strangers["IPv4"], 443)
	conn, heard := connects(t, n, to, s.TCP4)
	defer conn.Close()
	defer heard.Close()
	if got := heard.LocalAddr().(*net.TCPAddr).AddrPort(); got != to {
		t.Errorf("what was meant for %v came to %v", to, got)
	}
	if err := n.Do(func() error {
		c, err := wire.DialContained("tcp", netip.AddrPortFrom(strangers["IPv6"], 443))
		if err == nil {
			_ = c.Close()
			t.Error("a connection of IPv6 was made")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
