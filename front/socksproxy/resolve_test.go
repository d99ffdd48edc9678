package socksproxy

import (
	"net/netip"
	"testing"

	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

func TestResolveAnswersWithAnAddressAndEnds(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	const (
		ask5   = "\x05\x01\x00\x05\xf0\x00\x03\x09a.example\x00\x00"
		ask4   = "\x04\xf0\x00\x00\x00\x00\x00\x01\x00a.example\x00"
		found6 = "\x05\x00\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00"
	)
	for _, tt := range []struct {
		title string
		in    *inside
		sent  string
		heard string
	}{
		{"IPv4 first", &inside{addrs: []netip.Addr{v6, v4}}, ask5, "\x05\x00\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x00"},
		{"IPv6 only", &inside{addrs: []netip.Addr{v6}}, ask5, "\x05\x00" + found6},
		{"version 4", &inside{addrs: []netip.Addr{v6, v4}}, ask4, "\x00\x5a\x00\x00\xc0\x00\x02\x01"},
		{"version 4 has no room for IPv6", &inside{addrs: []netip.Addr{v6}}, ask4, rejected4},
		{"nothing found", &inside{}, ask5, "\x05\x00" + reply5(4)},
		{"no such name", &inside{err: fault.New(fault.DNSNXDomain, "no", nil)}, ask5, "\x05\x00" + reply5(4)},
		{"refused", &inside{err: fault.New(fault.PolicyRoute, "no", nil)}, ask4, rejected4},
	} {
		t.Run(tt.title, func(t *testing.T) {
			conn := open(t, tt.in, 0)
			send(t, conn, tt.sent)
			expect(t, conn, tt.heard)
			expectEnd(t, conn)
			if r := tt.in.lastAsked(t); r.Door != event.DoorResolve || r.Target.Host() != name.MustHost("a.example") {
				t.Errorf("asked for %+v", r)
			}
		})
	}
}

func TestResolvePTRAnswersWithAName(t *testing.T) {
	const ask = "\x05\x01\x00\x05\xf1\x00\x01\xc0\x00\x02\x01\x00\x00"
	for _, tt := range []struct {
		title       string
		in          *inside
		sent, heard string
		reversed    int
		reported    int
	}{
		{"a name", &inside{ptr: "a.example"}, ask, "\x05\x00\x05\x00\x00\x03\x09a.example\x00\x00", 1, 0},
		{"a literal in a name", &inside{ptr: "a.example"}, "\x05\x01\x00\x05\xf1\x00\x03\x09192.0.2.1\x00\x00", "\x05\x00\x05\x00\x00\x03\x09a.example\x00\x00", 1, 0},
		{"no name", &inside{err: fault.New(fault.DNSNXDomain, "no", nil)}, ask, "\x05\x00" + reply5(4), 1, 0},
		{"a name has no name", &inside{}, "\x05\x01\x00\x05\xf1\x00\x03\x09a.example\x00\x00", "\x05\x00" + reply5(8), 0, 1},
		{"version 4 has no such command", &inside{}, "\x04\xf1\x00\x00\xc0\x00\x02\x01\x00", rejected4, 0, 1},
	} {
		t.Run(tt.title, func(t *testing.T) {
			conn := open(t, tt.in, 0)
			send(t, conn, tt.sent)
			expect(t, conn, tt.heard)
			expectEnd(t, conn)
		})
		if len(tt.in.reversed) != tt.reversed || len(tt.in.events) != tt.reported {
			t.Errorf("%s: asked %v, reported %+v", tt.title, tt.in.reversed, tt.in.events)
		}
	}
}
