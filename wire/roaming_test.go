package wire

import (
	"errors"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
)

func TestARoamingSocketHearsAllSendsToOneAndIsToldThatNobodyListens(t *testing.T) {
	ask := func(at string) (*Roaming, netip.AddrPort) {
		t.Helper()
		l, err := ListenUDP(netip.MustParseAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		to := l.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
		conn, err := Dialer{}.DialPacketAddr(WithRoaming(t.Context()), to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		r := conn.(*Roaming)
		if _, err := r.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 16)
		_, me, err := l.ReadFromUDPAddrPort(b)
		if err != nil {
			t.Fatal(err)
		}
		other, err := ListenUDP(netip.MustParseAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = other.Close() })
		for _, from := range []interface {
			WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error)
		}{other, l, other, l} {
			if _, err := from.WriteToUDPAddrPort([]byte("x"), plain(me)); err != nil {
				t.Fatal(err)
			}
		}
		elsewhere := other.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort()
		if _, from, err := r.ReadWhom(b); err != nil || from != elsewhere {
			t.Errorf("heard %v, %v", from, err)
		}
		if n, err := r.Read(b); err != nil || n != 1 {
			t.Error(err)
		}
		if n, err := r.Read(b); err != nil || n != 1 { // that of the other is passed over
			t.Error(err)
		}
		if err := r.Turn(elsewhere); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write([]byte("there")); err != nil {
			t.Fatal(err)
		}
		if n, _, err := other.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != "there" {
			t.Errorf("%q, %v", b[:n], err)
		}
		_ = other.Close()
		return r, elsewhere
	}
	r, _ := ask("127.0.0.1:0")
	if err := r.Turn(netip.MustParseAddrPort("127.0.0.1:53")); !errors.Is(err, ErrPlainDNS) {
		t.Errorf("turned to a name service: %v", err)
	}
	if runtime.GOOS == "linux" {
		_, _ = r.Write([]byte("anybody?"))
		if _, _, err := r.ReadWhom(make([]byte, 16)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("where nobody listens: %v", err)
		}
	}
	ask("[::1]:0")
}
