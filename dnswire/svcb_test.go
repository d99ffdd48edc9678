package dnswire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

// raw is a reply to a question with one record whose data is as given.
func raw(t testing.TB, q Question, data []byte) []byte {
	t.Helper()
	b := reply(t, q, 0)
	end := skipName(b, headerLen) + 4
	b = append([]byte(nil), b[:end]...)
	clear(b[6:headerLen])
	b[7] = 1
	b = append(b, 0xC0, headerLen)
	b = binary.BigEndian.AppendUint16(b, uint16(q.Type))
	b = append(b, 0, ClassIN, 0, 0, 0, 60)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// param is a SvcParam on the wire.
func param(key uint16, value string) []byte {
	b := binary.BigEndian.AppendUint16(nil, key)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
}

// The data of an HTTPS record reaches clients octet by octet, with every parameter that there is, known here or not.
func TestSVCBRecordsArePassedOnIntact(t *testing.T) {
	const service, other = "\x00\x01\x00", "\x00\x10\x03Svc\x07ExamplE\x00" // priority and target
	ech := string(bytes.Repeat([]byte{0xfe, 0x0d, 0, 1}, 30))
	for _, c := range []struct{ what, data string }{
		{"an alias", "\x00\x00\x03svc\x07example\x00"},
		{"no parameter", service},
		{"another target, as it is spelled", other},
		{"ALPN", other + string(param(1, "\x02h3\x02h2"))},
		{"ALPN with a comma and a backslash", other + string(param(1, "\x03a,b\x03c\\d"))},
		{"ALPN and no default", service + string(param(1, "\x02h2")) + string(param(2, ""))},
		{"mandatory", service + string(param(0, "\x00\x01\x00\x04")) + string(param(1, "\x02h2")) + string(param(4, "\x01\x02\x03\x04"))},
		{"a port", service + string(param(3, "\x20\xfb"))},
		{"hints", service + string(param(4, "\x01\x02\x03\x04\x05\x06\x07\x08")) + string(param(6, "\x20\x01\x0d\xb8"+string(make([]byte, 12))))},
		{"ECH", service + string(param(4, "\x01\x02\x03\x04")) + string(param(5, ech))},
		{"a path of DoH", service + string(param(7, "/dns-query{?dns}"))},
		{"OHTTP", service + string(param(8, ""))},
		{"one that is not known yet", service + string(param(1, "\x02h2")) + string(param(500, "\x00\xff,\\\" what"))},
		{"one for private use", service + string(param(65280, "x")) + string(param(65534, ""))},
	} {
		for _, typ := range []Type{HTTPS, SVCB} {
			q := Question{Name: "www.shop.example", Type: typ}
			wire := raw(t, q, []byte(c.data))
			a, err := ParseAnswer(wire, q, 7)
			if err != nil {
				t.Errorf("%v, %s: %v", typ, c.what, err)
				continue
			}
			kept, err := a.Keep()
			if err != nil {
				t.Fatal(err)
			}
			again, err := kept.Answer(q)
			if err != nil {
				t.Fatal(err)
			}
			var asked Asked
			if _, err := asked.Read(packed(t, func(m *dns.Msg) { m.Question[0].Name, m.Question[0].Qtype = q.Name+".", uint16(typ) })); err != nil {
				t.Fatal(err)
			}
			out, err := asked.AppendReply(nil, again, Said{})
			if err != nil || !bytes.HasSuffix(out, []byte(c.data)) || binary.BigEndian.Uint16(out[len(out)-len(c.data)-2:]) != uint16(len(c.data)) {
				t.Errorf("%v, %s: %x became %x, %v", typ, c.what, c.data, out, err)
			}
		}
	}
}

func TestHintsAreTheAddressesOfEveryRecord(t *testing.T) {
	q := Question{Name: "www.shop.example", Type: HTTPS}
	for want, lines := range map[string][]string{
		"[]":                                {"www.shop.example. 60 HTTPS 1 . alpn=h2"},
		"[192.0.2.1 192.0.2.2 2001:db8::1]": {"www.shop.example. 60 HTTPS 1 . ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1"},
		"[192.0.2.1 10.0.0.2]":              {"www.shop.example. 60 HTTPS 1 . ipv4hint=192.0.2.1", "www.shop.example. 60 HTTPS 2 b.example. ipv4hint=10.0.0.2"},
		"[192.0.2.3]":                       {"www.shop.example. 60 CNAME a.example.", "a.example. 60 HTTPS 1 . ipv4hint=192.0.2.3"},
	} {
		a, err := ParseAnswer(reply(t, q, 0, lines...), q, 7)
		if err != nil {
			t.Errorf("%q: %v", lines, err)
			continue
		}
		if got := fmt.Sprint(a.Hints()); got != want {
			t.Errorf("%q: %s, want %s", lines, got, want)
		}
	}
	mapped := raw(t, q, []byte("\x00\x01\x00"+string(param(6, string(make([]byte, 10))+"\xff\xff\x0a\x00\x00\x01"))))
	if a, err := ParseAnswer(mapped, q, 7); err == nil && fmt.Sprint(a.Hints()) != "[10.0.0.1]" {
		t.Errorf("an IPv4-mapped hint is taken for %v", a.Hints())
	}
	a, err := ParseAnswer(reply(t, q, 5, "www.shop.example. 60 HTTPS 1 . ipv4hint=192.0.2.1"), q, 7)
	if err != nil || len(a.Hints()) > 0 {
		t.Errorf("an error has hints: %v, %v", a.Hints(), err)
	}
}
