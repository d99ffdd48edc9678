package wire

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestRelayClient_HearsTheRelayAlone(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")
	listen := func() *net.UDPConn {
		t.Helper()
		c, err := ListenUDP(netip.AddrPortFrom(loopback, 0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	relay, other := listen(), listen()
	c, err := ListenForRelay(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := netip.AddrPortFrom(loopback, c.From())
	if _, err := c.Write([]byte("early")); err == nil {
		t.Error("it sends before it is known where the relay is")
	}
	if err := c.Lead(netip.AddrPortFrom(loopback, 53)); err == nil {
		t.Error("it is led to where names are asked for in clear")
	}
	// A relay that says no address is on the socket's own.
	if err := c.Lead(netip.AddrPortFrom(netip.IPv4Unspecified(), relay.LocalAddr().(*net.UDPAddr).AddrPort().Port())); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("asks")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	_ = relay.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := relay.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:n]) != "asks" || from != at {
		t.Fatalf("the relay hears %q from %v: %v", b[:n], from, err)
	}
	for _, one := range []struct {
		by   *net.UDPConn
		text string
	}{{other, "another's"}, {relay, "the relay's"}} {
		if _, err := one.by.WriteToUDPAddrPort([]byte(one.text), at); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err = c.Read(b); err != nil || string(b[:n]) != "the relay's" {
		t.Errorf("it hears %q: %v", b[:n], err)
	}
}
