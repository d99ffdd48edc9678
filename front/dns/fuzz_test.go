package dns

import (
	"net/netip"
	"testing"

	miekg "github.com/miekg/dns"

	"watertight/dnswire"
)

// FuzzDoor asks whatever there is: it is answered with a reply to it that fits, or not at all.
func FuzzDoor(f *testing.F) {
	for _, typ := range []uint16{miekg.TypeA, miekg.TypeANY, miekg.TypeTXT, miekg.TypeAXFR} {
		f.Add(query(f, "www.example.", typ, nil), uint8(UDP))
		f.Add(query(f, "large.example.", typ, edns(1232, &miekg.EDNS0_PADDING{Padding: make([]byte, 3)})), uint8(TLS))
		f.Add(query(f, "fault.example.", typ, edns(512, &miekg.EDNS0_COOKIE{Code: miekg.EDNS0COOKIE, Cookie: "0123456789abcdef"})), uint8(UDP))
	}
	f.Add(query(f, "id.server.", miekg.TypeTXT, func(m *miekg.Msg) { m.Question[0].Qclass = miekg.ClassCHAOS }), uint8(TCP))
	d := newDoor(f, Options{ID: "a door", Rate: 1 << 30})
	f.Fuzz(func(t *testing.T, msg []byte, proto uint8) {
		c := Client{netip.MustParseAddrPort("127.0.0.1:4000"), Proto(proto % uint8(protos))}
		var a asking
		out, next := d.begin(nil, msg, c, &a)
		switch next {
		case silence:
			if len(out) > 0 {
				t.Fatalf("%x is passed over, and there is %x", msg, out)
			}
			return
		case wait:
			out = d.finish(t.Context(), nil, &a)
		}
		limit := dnswire.MaxMessage
		if c.Proto == UDP {
			limit = int(min(max(a.UDPSize, 512), maxUDP))
		}
		var m miekg.Msg
		if err := m.Unpack(out); err != nil || len(out) > limit {
			t.Fatalf("%x is answered with %x (%d octets): %v", msg, out, len(out), err)
		}
		if !m.Response || m.Id != a.ID || len(m.Question) > 1 {
			t.Fatalf("%x is answered with %v", msg, &m)
		}
	})
}
