package dns

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"testing"
	"testing/iotest"

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

// FuzzQuicQuery reads whatever a stream of DNS over QUIC has, however it is cut: a query is what stands behind a length that
// is right, and nothing else.
func FuzzQuicQuery(f *testing.F) {
	q := framed(query(f, "www.example.", miekg.TypeA, nil))
	for _, b := range [][]byte{q, q[:1], q[:9], {}, {0, 0}, {0xff, 0xff, 1}, append(q[:len(q):len(q)], 0), append(q[:len(q):len(q)], q...)} {
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, slowly bool) {
		var r io.Reader = bytes.NewReader(b)
		if slowly {
			r = iotest.OneByteReader(r)
		}
		got, err := readQuery(nil, r)
		right := len(b) >= 2 && int(binary.BigEndian.Uint16(b)) == len(b)-2 && len(b)-2 <= maxQuery
		if right != (err == nil) || right && !bytes.Equal(got, b[2:]) {
			t.Fatalf("%x is read as %x, %v", b, got, err)
		}
		if cap(got) > 4*len(b)+2*bytes.MinRead {
			t.Fatalf("%d octets take the room of %d", len(b), cap(got))
		}
	})
}
