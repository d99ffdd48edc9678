package probe

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"

	"watertight/leaktest"
)

func TestStray_APacketIsOneThatARouterWouldPassOn(t *testing.T) {
	for _, one := range [][2]string{{"192.0.2.7:40000", "203.0.113.53:53"}, {"[2001:db8::7]:40000", "[2001:db8:53::53]:53"}} {
		from, to := netip.MustParseAddrPort(one[0]), netip.MustParseAddrPort(one[1])
		for _, payload := range []string{"even", "odd"} {
			b := datagram(from, to, []byte(payload))
			head, src, dst := 20, b[12:], b[16:]
			if to.Addr().Is6() {
				head, src, dst = 40, b[8:], b[24:]
				if n := int(binary.BigEndian.Uint16(b[4:])); n != len(b)-head || b[0]>>4 != 6 || b[6] != 17 {
					t.Errorf("%s: a head of %x", to, b[:head])
				}
			} else if int(binary.BigEndian.Uint16(b[2:])) != len(b) || checksum(b[:head]) != 0 || b[9] != 17 {
				t.Errorf("%s: a head of %x", to, b[:head])
			}
			n := len(from.Addr().AsSlice())
			if !slices.Equal(src[:n], from.Addr().AsSlice()) || !slices.Equal(dst[:n], to.Addr().AsSlice()) {
				t.Errorf("%s: from %x to %x", to, src[:n], dst[:n])
			}
			udp := b[head:]
			pseudo := slices.Concat(src[:n], dst[:n], []byte{0, 0, 0, byte(len(udp)), 0, 0, 0, 17}, udp)
			if checksum(pseudo) != 0 || int(binary.BigEndian.Uint16(udp[4:])) != len(udp) || string(udp[8:]) != payload || binary.BigEndian.Uint16(udp[2:]) != 53 {
				t.Errorf("%s: a datagram of %x", to, udp)
			}
		}
	}
}

func TestStray_NothingIsSentToAnAddressOfThisHost(t *testing.T) {
	own := []net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, 7).To4(), Mask: net.CIDRMask(24, 32)}}
	for _, kind := range []leaktest.StrayKind{leaktest.StrayDatagram, leaktest.StrayConnect, leaktest.StrayFlow, leaktest.StrayFrame, "else"} {
		if got := stray(leaktest.Stray{Kind: kind, To: netip.MustParseAddrPort("192.0.2.7:53"), Host: "x.example.com"}, own); got.Result != leaktest.StrayUnable {
			t.Errorf("%s: %+v", kind, got)
		}
	}
}

func TestStray_WhatTheKernelSaysIsToldApart(t *testing.T) {
	failed := func(n syscall.Errno) error { return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", n)} }
	for _, one := range []struct {
		err  error
		want leaktest.Strayed
	}{
		{failed(syscall.EPERM), leaktest.Strayed{Result: leaktest.StrayRefused, Said: "EPERM"}},
		{failed(syscall.ECONNRESET), leaktest.Strayed{Result: leaktest.StrayRefused, Said: "ECONNRESET"}},
		{failed(syscall.EHOSTUNREACH), leaktest.Strayed{Result: leaktest.StrayRefused, Said: "EHOSTUNREACH"}},
		{failed(syscall.ENETUNREACH), leaktest.Strayed{Result: leaktest.StrayNoWay, Said: "ENETUNREACH"}},
		{failed(syscall.ETIMEDOUT), leaktest.Strayed{Result: leaktest.StraySilent}},
		{os.ErrDeadlineExceeded, leaktest.Strayed{Result: leaktest.StraySilent}},
		{os.ErrClosed, leaktest.Strayed{Result: leaktest.StrayUnable, Said: os.ErrClosed.Error()}},
	} {
		if got := came(one.err, leaktest.StraySilent); got != one.want {
			t.Errorf("%v: %+v, want %+v", one.err, got, one.want)
		}
	}
}

func TestStray_AResolverIsNotTakenForTheCanary(t *testing.T) {
	for reply, want := range map[string]bool{"\x12\x34\x84\x00": true, "\x12\x34\x81\x80": false, "\x12\x34": false, "": false} {
		if authoritative([]byte(reply)) != want {
			t.Errorf("%q is said by who has the name: %v", reply, !want)
		}
	}
}

func TestStray_NoMoreIsTriedThanMayBe(t *testing.T) {
	if _, err := Stray(t.Context(), make([]leaktest.Stray, maxStrays+1)); err == nil {
		t.Error("they are tried")
	}
}
