package dnswire

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func FuzzParseAnswer(f *testing.F) {
	f.Add(reply(f, question, 0, "www.shop.example. 60 CNAME a.example.", "a.example. 30 A 192.0.2.1"))
	f.Add(reply(f, question, 3, "--", "example. 60 SOA a.example. b.example. 1 2 3 4 5"))
	f.Add(reply(f, question, 0, "www.shop.example. 60 CNAME www.shop.example."))
	f.Add([]byte{0, 7, 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xC0, 12, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAnswer(b, question, 7)
		var m dns.Msg
		theirs := m.Unpack(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%v is not ErrMalformed", err)
			}
			return
		}
		if theirs != nil {
			t.Errorf("accepted what the library refuses: %v", theirs)
		}
		if a.TTL < 0 || a.TTL > MaxTTL || len(a.Records) > len(m.Answer) {
			t.Errorf("%+v", a)
		}
		reached := map[string]bool{question.Name: true}
		for _, r := range a.Records {
			if !reached[r.Name] {
				t.Errorf("%s was not reached from the question", r.Name)
			}
			if r.Type == CNAME {
				reached[r.Host] = true
			}
			_ = r.Text()
		}
		_, _ = a.Addrs(), a.Aged(time.Second)
	})
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{"", "www.example", `a\.b`, "xn--mnchen-3ya.example", `\255\000.example`} {
		f.Add(s, uint16(1))
	}
	f.Fuzz(func(t *testing.T, s string, typ uint16) {
		q := Question{CanonicalName(s), Type(typ)}
		b, err := Query(q, 0, PadQuery)
		if err != nil {
			return
		}
		if len(b)%PadQuery != 0 || binary.BigEndian.Uint16(b) != 0 {
			t.Errorf("%q: %d octets", s, len(b))
		}
		r, err := ParseRequest(b)
		if err != nil || r.Type != q.Type {
			t.Errorf("%q: %+v, %v", s, r, err)
		}
	})
}
