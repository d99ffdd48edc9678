package network_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"watertight/contain"
	"watertight/contain/network"
	"watertight/lab"
	"watertight/wire"
)

func TestMain(m *testing.M) { lab.Main(m) }

// Addresses that nobody has here (RFC 5737, RFC 3849), by the family.
var strangers = map[string]netip.Addr{"IPv4": netip.MustParseAddr("203.0.113.7"), "IPv6": netip.MustParseAddr("2001:db8::7")}

// opened makes a network, and gives how to do things in it.
func opened(t *testing.T) (*contain.Net, network.Sockets) {
	t.Helper()
	lab.Inside(t)
	n := lab.Must(contain.NewNet())(t)
	t.Cleanup(func() { n.Close() })
	var s network.Sockets
	if err := n.Do(func() (err error) { s, err = network.Open(); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if !s.Whole() || s.TCP6 == nil || s.UDP6 == nil || s.ICMP6 == nil {
		t.Fatalf("%+v", s)
	}
	return n, s
}

func TestOpen_AConnectionToAnyAddressIsHeardUnderThatAddress(t *testing.T) {
	n, s := opened(t)
	for family, addr := range strangers {
		listener := map[string]*net.TCPListener{"IPv4": s.TCP4, "IPv6": s.TCP6}[family]
		for _, port := range []uint16{1, 80, 65535} {
			to := netip.AddrPortFrom(addr, port)
			conn, heard := connects(t, n, to, listener)
			if got := heard.LocalAddr().(*net.TCPAddr).AddrPort(); got != to {
				t.Errorf("what was meant for %v came to %v", to, got)
			}
			if from := heard.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); from != network.Inside4 && from != network.Inside6 {
				t.Errorf("it came from %v", from)
			}
			conn.Close()
			heard.Close()
		}
		to := netip.AddrPortFrom(addr, 53)
		conn, heard := connects(t, n, to, s.DNS)
		if got := heard.LocalAddr().(*net.TCPAddr).AddrPort(); netip.AddrPortFrom(got.Addr().Unmap(), got.Port()) != to {
			t.Errorf("what was meant for %v came to %v", to, got)
		}
		conn.Close()
		heard.Close()
	}
}

// connects connects from inside, and accepts.
func connects(t *testing.T, n *contain.Net, to netip.AddrPort, l *net.TCPListener) (conn net.Conn, heard *net.TCPConn) {
	t.Helper()
	if err := n.Do(func() (err error) { conn, err = wire.DialContained("tcp", to); return err }); err != nil {
		t.Fatalf("%v: %v", to, err)
	}
	return conn, lab.Must(l.AcceptTCP())(t)
}

func TestOpen_ADatagramToAnyAddressIsHeardWithThatAddress(t *testing.T) {
	n, s := opened(t)
	for family, addr := range strangers {
		to := netip.AddrPortFrom(addr, 4433)
		var conn net.Conn
		if err := n.Do(func() (err error) { conn, err = wire.DialContained("udp", to); return err }); err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		socket := map[string]*net.UDPConn{"IPv4": s.UDP4, "IPv6": s.UDP6}[family]
		b, control := make([]byte, 100), make([]byte, wire.OriginalControl)
		k, c, _, from, err := socket.ReadMsgUDPAddrPort(b, control)
		if err != nil || string(b[:k]) != "ping" {
			t.Fatalf("%q: %v", b[:k], err)
		}
		if meant, ok := wire.OriginalOf(control[:c]); !ok || meant != to {
			t.Errorf("what was meant for %v is said to be for %v", to, meant)
		}
		var back *net.UDPConn
		if err := n.Do(func() (err error) { back, err = wire.ReplyFrom(to, 0); return err }); err != nil {
			t.Fatal(err)
		}
		defer back.Close()
		if _, err := back.WriteToUDPAddrPort([]byte("pong"), from); err != nil {
			t.Fatal(err)
		}
		if k, err := conn.Read(b); err != nil || string(b[:k]) != "pong" {
			t.Errorf("%q: %v", b[:k], err)
		}
	}
}

func TestOpen_WhatIsForManyFailsAtOnce(t *testing.T) {
	n, _ := opened(t)
	for _, to := range []string{"224.0.0.251:5353", "239.255.255.250:1900", "240.0.0.1:9", "[ff02::fb]:5353", "[ff0e::1]:9"} {
		err := n.Do(func() error {
			conn, err := wire.DialContained("udp", netip.MustParseAddrPort(to))
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte("x"))
			return err
		})
		if err == nil || !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func TestOpen_WithoutItsSocketsNothingIsHeardByAnybody(t *testing.T) {
	n, s := opened(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var everywhere *net.TCPListener
	if err := n.Do(func() (err error) {
		everywhere, err = wire.ListenTCP(netip.MustParseAddrPort("[::]:8099"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	for _, addr := range strangers {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := n.Do(func() error {
			conn, err := wire.DialTCP(ctx, netip.AddrPortFrom(addr, 8099))
			if err == nil {
				conn.Close()
			}
			return err
		}); err == nil {
			t.Errorf("a program inside was taken for %v", addr)
		}
		cancel()
	}
	// Its own addresses are its own.
	if err := n.Do(func() error {
		conn, err := wire.DialContained("tcp", netip.AddrPortFrom(network.Inside6, 8099))
		if err == nil {
			conn.Close()
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}
