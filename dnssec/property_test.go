package dnssec

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// props are questions whose answers are taken apart.
var props = []string{
	"www.%s A", "www.%s AAAA", "alias.%s A", "far.%s A", "gone.%s A", "any.wild.%s A", "any.wild.%s AAAA", "any.wcname.%s A",
	"ent.%s A", "x.dname.%s A", "www.dfar.%s A", "nothere.%s A", "a.b.c.%s MX", "www.%s DS", "%s DNSKEY", "%s DS", "lame.%s DS",
}

// told is what a caller takes from an answer: code, canonical name and data, without the TTLs that Result.TTL caps.
func told(t testing.TB, q dnswire.Question, wire []byte) string {
	a, err := dnswire.ParseAnswer(wire, q, 0)
	if err != nil {
		return "nothing"
	}
	var list []string
	for _, r := range a.Records {
		if r.Type != 46 {
			list = append(list, strings.ToLower(fmt.Sprint(r.Name, r.Type, r.Text())))
		}
	}
	slices.Sort(list)
	return fmt.Sprint(a.RCode, a.Canonical, slices.Compact(list))
}

// same fails where a changed answer is Secure and tells something else.
func same(t *testing.T, v *Validator, q dnswire.Question, honest string, m *dns.Msg, what string) (still bool) {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		return false
	}
	r, err := v.Validate(context.Background(), q, wire)
	if err != nil || r.State != Secure {
		if err == nil && r.State == Insecure {
			t.Errorf("%v: %s: insecure: %s", q, what, r.Reason)
		}
		return false
	}
	if got := told(t, q, wire); got != honest {
		t.Errorf("%v: %s: secure, and tells\n%s, not\n%s", q, what, got, honest)
	}
	return true
}

func TestNoChangeOfOneRecordIsSecureWithOtherData(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	random := rand.New(rand.NewPCG(1, 2))
	kept, changed := 0, 0
	for _, apex := range []string{"rsa.example", "p256.example", "ed.example", "child.p256.example"} {
		for _, text := range props {
			if text == "lame.%s DS" && apex == "p256.example" {
				continue
			}
			q := question(strings.Replace(text, "%s", apex, 1))
			base := w.reply(q)
			wire, err := base.Pack()
			if err != nil {
				t.Fatal(err)
			}
			honest := told(t, q, wire)
			if r, err := v.Validate(t.Context(), q, wire); err != nil || r.State != Secure {
				t.Fatalf("%v: %+v, %v", q, r, err)
			}
			for i := range len(base.Answer) + len(base.Ns) {
				for name, change := range map[string]func([]dns.RR, int) []dns.RR{
					"dropped": func(l []dns.RR, i int) []dns.RR { return slices.Delete(slices.Clone(l), i, i+1) },
					"twice":   func(l []dns.RR, i int) []dns.RR { return append(slices.Clone(l), l[i]) },
					"moved": func(l []dns.RR, i int) []dns.RR {
						return altered(l, i, func(r dns.RR) dns.RR { r.Header().Name = "www." + r.Header().Name; return r })
					},
					"class": func(l []dns.RR, i int) []dns.RR {
						return altered(l, i, func(r dns.RR) dns.RR { r.Header().Class = dns.ClassCHAOS; return r })
					},
					"data": func(l []dns.RR, i int) []dns.RR {
						return altered(l, i, func(r dns.RR) dns.RR { return flip(r, random) })
					},
					"other data": func(l []dns.RR, i int) []dns.RR {
						return altered(l, i, func(r dns.RR) dns.RR { return flip(r, random) })
					},
					"added": func(l []dns.RR, i int) []dns.RR { return append(slices.Clone(l), flip(l[i], random)) },
				} {
					m := base.Copy()
					if i < len(m.Answer) {
						m.Answer = change(m.Answer, i)
					} else {
						m.Ns = change(m.Ns, i-len(m.Answer))
					}
					changed++
					if same(t, v, q, honest, m, fmt.Sprintf("record %d %s", i, name)) {
						kept++
					}
				}
			}
			for _, code := range []int{0, 3} {
				m := base.Copy()
				m.Rcode = code
				same(t, v, q, honest, m, dns.RcodeToString[code])
			}
			for _, other := range props { // the proofs of other answers instead
				m := base.Copy()
				m.Answer, m.Ns = nil, w.reply(question(strings.Replace(other, "%s", apex, 1))).Ns
				for _, m.Rcode = range []int{0, 3} {
					same(t, v, q, honest, m, "proofs of "+other)
				}
			}
		}
	}
	if kept == 0 || kept > changed/2 {
		t.Errorf("%d of %d changed answers are still secure", kept, changed)
	}
}

func altered(list []dns.RR, i int, change func(dns.RR) dns.RR) []dns.RR {
	list = slices.Clone(list)
	list[i] = change(dns.Copy(list[i]))
	return list
}

// flip changes one bit of a record's data.
func flip(r dns.RR, random *rand.Rand) dns.RR {
	wire := make([]byte, 65535)
	n, err := dns.PackRR(r, wire, 0, nil, false)
	if err != nil {
		return r
	}
	start := len(mustName(r.Header().Name)) + 10
	for range 20 {
		out := slices.Clone(wire[:n])
		out[start+random.IntN(n-start)] ^= 1 << random.IntN(8)
		if made, _, err := dns.UnpackRR(out, 0); err == nil {
			return made
		}
	}
	return r
}

func FuzzValidate(f *testing.F) {
	w := newWorld(f)
	v := w.validator(f, Options{})
	honest := map[string]string{} // by question: what the signed zones tell
	var list []string
	for _, apex := range []string{"rsa.example", "p256.example"} {
		for _, text := range props {
			s := strings.Replace(text, "%s", apex, 1)
			wire, err := w.reply(question(s)).Pack()
			if err != nil {
				f.Fatal(err)
			}
			honest[s] = told(f, question(s), wire)
			list = append(list, s)
			f.Add(uint8(len(list)-1), wire)
		}
	}
	f.Fuzz(func(t *testing.T, at uint8, wire []byte) {
		s := list[int(at)%len(list)]
		r, err := v.Validate(t.Context(), question(s), wire)
		if err != nil || r.State != Secure {
			return
		}
		if got := told(t, question(s), wire); got != honest[s] && got != "nothing" {
			t.Errorf("%s: secure, and tells %s, not %s", s, got, honest[s])
		}
	})
}
