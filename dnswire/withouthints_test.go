package dnswire

import (
	"bytes"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestHintsAreTakenOutAndAllElseStays(t *testing.T) {
	const ech = `ech="AEX+DQBBWwAgACCBdNrnZxqNrUXSyimqqnfmNG4lHtVsbmaaIeRoUoFWFQAEAAEAAQAScHVibGljLmV4YW1wbGUuY29tAAA="`
	for _, typ := range []Type{HTTPS, SVCB} {
		q := Question{Name: "www.shop.example", Type: typ}
		head := "www.shop.example. 60 " + typ.String() + " "
		for _, c := range []struct{ from, want string }{
			{"1 . alpn=h3,h2 ipv4hint=192.0.2.1,192.0.2.2 " + ech + " ipv6hint=2001:db8::1", "1 . alpn=h3,h2 " + ech},
			{"1 svc.example. mandatory=alpn,ipv4hint alpn=h2 ipv4hint=192.0.2.1", "1 svc.example. mandatory=alpn alpn=h2"},
			{"1 . mandatory=ipv4hint,ipv6hint ipv4hint=192.0.2.1 ipv6hint=2001:db8::1 key65280=x", "1 . key65280=x"},
			{"1 . ipv6hint=2001:db8::1", "1 ."},
		} {
			a, err := ParseAnswer(reply(t, q, 0, head+c.from, "www.shop.example. 60 RRSIG "+typ.String()+" 13 3 60 20300101000000 20260101000000 1 example. AAAA"), q, 7)
			if err != nil {
				t.Fatal(err)
			}
			a.AD = true
			bare, err := a.Aged(20 * time.Second).WithoutHints()
			if err != nil {
				t.Errorf("%s: %v", c.from, err)
				continue
			}
			if len(bare.Hints()) > 0 || len(bare.Records) != 1 || bare.AD || bare.TTL != 40*time.Second || len(a.Hints()) == 0 {
				t.Errorf("%s: hints %v, of %+v", c.from, bare.Hints(), bare)
			}
			m := said(t, bare, Said{}, func(m *dns.Msg) { m.Question[0].Name, m.Question[0].Qtype = q.Name+".", uint16(typ) })
			want, err := dns.NewRR("www.shop.example. 40 " + typ.String() + " " + c.want)
			if err != nil || len(m.Answer) != 1 || !dns.IsDuplicate(m.Answer[0], want) || m.Answer[0].Header().Ttl != 40 {
				t.Errorf("%s: said as %v, want %v (%v)", c.from, m.Answer, want, err)
			}
		}
	}
}

func TestAnAnswerWithoutHintsStaysAsItIs(t *testing.T) {
	for typ, line := range map[Type]string{
		HTTPS: "www.shop.example. 60 HTTPS 1 . alpn=h2", SVCB: "www.shop.example. 60 SVCB 0 other.example.",
		A: "www.shop.example. 60 A 192.0.2.1", TXT: "www.shop.example. 60 TXT hello",
	} {
		q := Question{Name: "www.shop.example", Type: typ}
		a, err := ParseAnswer(reply(t, q, 0, line), q, 7)
		if err != nil {
			t.Fatal(err)
		}
		if bare, err := a.WithoutHints(); err != nil || bare != a {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// FuzzWithoutHints holds that no address is left, in what is said to clients either, whatever records there are.
func FuzzWithoutHints(f *testing.F) {
	q := Question{Name: "www.shop.example", Type: HTTPS}
	const service = "\x00\x01\x00"
	for _, data := range []string{
		service + string(param(4, "\x01\x02\x03\x04")), service + string(param(0, "\x00\x04\x00\x06")) + string(param(4, "\x01\x02\x03\x04")) + string(param(6, string(make([]byte, 16)))),
		"\x00\x00\x03svc\x07example\x00", service + string(param(4, "")),
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1000 {
			return
		}
		a, err := ParseAnswer(raw(t, q, data), q, 7)
		if err != nil {
			return
		}
		bare, err := a.WithoutHints()
		if err != nil {
			return
		}
		if len(bare.Hints()) > 0 || len(bare.Records) != len(a.Records) {
			t.Fatalf("%x: %v, %d records of %d", data, bare.Hints(), len(bare.Records), len(a.Records))
		}
		var asked Asked
		query, err := Query(q, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := asked.Read(query); err != nil {
			t.Fatal(err)
		}
		out, err := asked.AppendReply(nil, bare, Said{})
		if err != nil {
			return
		}
		again, err := ParseAnswer(out, q, 0)
		if err != nil || len(again.Hints()) > 0 {
			t.Errorf("%x: said with %v (%v)", data, again, err)
		}
		if len(a.Hints()) == 0 && !bytes.Equal(bare.Wire, a.Wire) {
			t.Errorf("%x was changed for nothing", data)
		}
	})
}
