package dnssec

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// colliding gives count keys with one tag that are nobody's.
func colliding(t *testing.T, like *dns.DNSKEY, count int) []*testKey {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(like.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var list []*testKey
	for i := 1; len(list) < count; i++ { // moving a value from one word to another keeps the sum
		made := append([]byte(nil), raw...)
		if int(made[0])+i/200 > 255 || int(made[2+2*(i%10)]) < 1+i/200 {
			if i > 10000 {
				t.Fatal("no more keys with one tag")
			}
			continue
		}
		made[0] += byte(1 + i/200)
		made[2+2*(i%10)] -= byte(1 + i/200)
		k := *like
		k.PublicKey = base64.StdEncoding.EncodeToString(made)
		if k.KeyTag() == like.KeyTag() && k.PublicKey != like.PublicKey {
			list = append(list, &testKey{DNSKEY: &k})
		}
	}
	return list
}

func TestKeysWithOneTagAreTriedAndBounded(t *testing.T) {
	w := newWorld(t)
	z := w.zones["ed.example."]
	z.keys = colliding(t, z.zsk.DNSKEY, 2)
	z.sign(t)
	w.want(t, w.validator(t, Options{}), "www.ed.example A", nil, Secure, 0)

	z.keys = nil
	var decoys []dns.RR // before the real key, which is the last of too many
	for _, k := range colliding(t, z.zsk.DNSKEY, 8) {
		decoys = append(decoys, k.DNSKEY)
	}
	set := &rrset{owner: "\x03www\x02ed\x07example\x00", typ: dns.TypeA, rrs: z.sets["www.ed.example."][dns.TypeA]}
	set.sigs = []signature{{z.sigs["www.ed.example."][dns.TypeA][0].(*dns.RRSIG), mustName(z.apex)}}
	few := w.validator(t, Options{}).newWork(t.Context())
	keys := zoneKeys(&rrset{rrs: append(decoys, z.zsk.DNSKEY)})
	if p := few.verify(set, mustName(z.apex), keys); p.state != Bogus || few.v.limits.Signatures-few.tries != maxPerTag {
		t.Errorf("%v with %d of %d left", p.state, few.tries, few.v.limits.Signatures)
	}

	// KeyTrap, CVE-2023-50387: many keys with one tag, and many signatures to try with each.
	z.keys = colliding(t, z.zsk.DNSKEY, 8)
	z.sign(t)
	v := w.validator(t, Options{})
	m := w.reply(question("www.ed.example A"))
	for i := range 40 {
		sig := dns.Copy(z.sigs["www.ed.example."][dns.TypeA][0]).(*dns.RRSIG)
		sig.Signature = base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fmt.Sprint(i), 64)[:64]))
		m.Answer = append([]dns.RR{sig}, m.Answer...)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	w.want(t, v, "rsa.example DS", nil, Secure, 0) // the chain above is known
	msg, err := readMessage(wire, question("www.ed.example A"))
	if err != nil {
		t.Fatal(err)
	}
	job := v.newWork(t.Context())
	verdict := job.judge(msg, mustName("www.ed.example."), dns.TypeA)
	if spent := v.limits.Signatures - job.tries; verdict.state != Bogus || spent > maxPerSet+6 {
		t.Errorf("%v after %d tries: %s", verdict.state, spent, verdict.reason)
	}
}

func TestTriesAreBoundedOverTheWholeValidation(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{Limits: Limits{Signatures: 3}})
	w.want(t, v, "www.rsa.example A", nil, Indeterminate, EDEIndeterminate)
	w.want(t, v, "example SOA", nil, Secure, 0) // what was learnt before the end is kept
}

func TestLookUpsAreBounded(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{Limits: Limits{Lookups: 4}})
	w.want(t, v, "www.child.p256.example A", nil, Indeterminate, EDEIndeterminate)
	if len(w.asked) != 4 {
		t.Errorf("%d look-ups", len(w.asked))
	}
	w.want(t, v, "www.child.p256.example A", nil, Secure, 0) // the second one goes on from there
}

// CVE-2023-50868: many labels and many iterations.
func TestHashesAreBounded(t *testing.T) {
	w := newWorld(t)
	deep := strings.Repeat("a.", 60) + "p256.example A"
	w.want(t, w.validator(t, Options{}), deep, nil, Secure, 0)
	w.want(t, w.validator(t, Options{Limits: Limits{Hashes: 20}}), deep, nil, Indeterminate, EDEIndeterminate)
}

func TestManyIterationsAreNotFollowed(t *testing.T) {
	for iterations, want := range map[uint16]State{100: Secure, 101: Insecure, 500: Insecure, 501: Bogus, 65535: Bogus} {
		w := newWorld(t)
		z := w.zones["p256.example."]
		z.iterations = iterations
		if iterations > 1000 {
			z.iterations = 1000 // the test's own hashing is not bounded
		}
		w.link(t)
		v := w.validator(t, Options{})
		ede := EDEUnsupportedIterations
		if want == Secure {
			ede = 0
		}
		for _, q := range []string{"nothere.p256.example A", "www.p256.example AAAA", "any.wild.p256.example A"} {
			w.want(t, v, q, nil, want, ede)
		}
		w.want(t, v, "www.p256.example A", nil, Secure, 0)
	}
	w := newWorld(t) // nobody but the owner can say so
	w.want(t, w.validator(t, Options{}), "nothere.p256.example A", func(m *dns.Msg) {
		for i, r := range m.Ns {
			if n, ok := r.(*dns.NSEC3); ok {
				n = dns.Copy(n).(*dns.NSEC3)
				n.Iterations = 200
				m.Ns[i] = n
			}
		}
	}, Bogus, EDEBogus)
}

func TestAChainOfAliasesIsBounded(t *testing.T) {
	w := newWorld(t)
	z := w.zones["rsa.example."]
	for i := range 40 {
		z.add(rr(t, fmt.Sprintf("n%d.rsa.example. 60 CNAME n%d.rsa.example.", i, i+1)))
	}
	z.add(rr(t, "loop.rsa.example. 60 CNAME loop.rsa.example."))
	z.add(rr(t, "n40.rsa.example. 60 A 192.0.2.1"))
	z.sign(t)
	v := w.validator(t, Options{})
	w.want(t, v, "n24.rsa.example A", nil, Secure, 0)
	w.want(t, v, "n23.rsa.example A", nil, Bogus, EDEBogus)
	w.want(t, v, "loop.rsa.example A", func(m *dns.Msg) { m.Answer = m.Answer[:2] }, Bogus, EDEBogus)
}

func TestALookUpThatFailsIsIndeterminateAndNotRemembered(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	for name, tamper := range map[string]func(dnswire.Question, *dns.Msg){
		"no answer":        func(_ dnswire.Question, m *dns.Msg) { m.Rcode = dns.RcodeServerFailure },
		"refused":          func(_ dnswire.Question, m *dns.Msg) { m.Rcode = dns.RcodeRefused },
		"another question": func(_ dnswire.Question, m *dns.Msg) { m.Question[0].Name = "other.example." },
		"not a reply":      func(_ dnswire.Question, m *dns.Msg) { m.Response = false },
	} {
		w.tamper = tamper
		if r := w.judge(t, v, question("www.rsa.example A"), nil); r.State != Indeterminate || r.TTL != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	w.tamper = nil
	w.want(t, v, "www.rsa.example A", nil, Secure, 0)
}

func TestABrokenChainIsRememberedShortly(t *testing.T) {
	w := newWorld(t)
	now := noon
	v := w.validator(t, Options{Now: func() time.Time { return now }})
	w.tamper = func(q dnswire.Question, m *dns.Msg) { m.Answer = nil }
	w.want(t, v, "www.rsa.example A", nil, Bogus, EDEKeyMissing)
	w.tamper, w.asked = nil, nil
	w.want(t, v, "www.rsa.example A", nil, Bogus, EDEKeyMissing)
	if len(w.asked) != 0 {
		t.Errorf("asked again at once: %v", w.asked)
	}
	now = now.Add(badTTL)
	w.want(t, v, "www.rsa.example A", nil, Secure, 0)
}

func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{Limits: Limits{Entries: 5}})
	for i := range 20 {
		w.want(t, v, "www.plain.example AAAA", nil, Insecure, 0)
		w.judge(t, v, question(fmt.Sprintf("n%d A", i)), drop(dns.TypeRRSIG))
	}
	if n := len(v.nodes.entries); n > 5 || v.nodes.recent.Len() != n {
		t.Errorf("%d entries, %d in order", n, v.nodes.recent.Len())
	}
}

// gate holds every look-up until it is opened.
type gate struct {
	*world
	open chan struct{}
}

func (g *gate) ask(ctx context.Context, q dnswire.Question) ([]byte, error) {
	select {
	case <-g.open:
		return g.world.ask(ctx, q)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *gate) validator(t *testing.T) *Validator {
	v, err := New(Options{Anchors: []Anchor{{ds: g.zones["."].ds(dns.SHA256)}}, Now: func() time.Time { return noon }}, g.ask)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestThoseWhoAskTogetherShareTheLookUps(t *testing.T) {
	world := newWorld(t)
	q := question("www.rsa.example A")
	wire, err := world.reply(q).Pack()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		g := &gate{world: world, open: make(chan struct{})}
		v := g.validator(t)
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := v.Validate(first, q, wire); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who gave up: %v", err)
			}
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				if r, err := v.Validate(t.Context(), q, wire); err != nil || r.State != Secure {
					t.Errorf("%+v, %v", r, err)
				}
			})
		}
		synctest.Wait()
		cancel() // the one who asks gives up: another takes its place
		synctest.Wait()
		close(g.open)
		wg.Wait()
		if len(g.asked) != 5 {
			t.Errorf("%d look-ups: %v", len(g.asked), g.asked)
		}
	})
}

func TestALookUpUnderWayDoesNotFillTheMemoryAfterFlush(t *testing.T) {
	world := newWorld(t)
	q := question(". SOA")
	wire, err := world.reply(q).Pack()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		g := &gate{world: world, open: make(chan struct{})}
		v := g.validator(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			if r, err := v.Validate(t.Context(), q, wire); err != nil || r.State != Secure {
				t.Errorf("%+v, %v", r, err)
			}
		})
		synctest.Wait()
		v.Flush()
		close(g.open)
		wg.Wait()
		if len(v.nodes.entries) != 0 {
			t.Error("the memory is filled")
		}
	})
}

// A delegation may have many DS records; each costs a digest of every key with its tag.
func TestDSRecordsOfOneDelegationAreBounded(t *testing.T) {
	for decoys, want := range map[int]State{maxDS - 1: Secure, maxDS: Bogus} {
		w := newWorld(t)
		parent, real := w.zones["example."], w.zones["ed.example."].ds(dns.SHA256)
		delete(parent.sets["ed.example."], dns.TypeDS)
		for i := range decoys {
			ds := *real
			ds.Digest = fmt.Sprintf("%064X", i)
			parent.add(&ds)
		}
		parent.add(real)
		parent.sign(t)
		if r := w.judge(t, w.validator(t, Options{}), question("www.ed.example A"), nil); r.State != want {
			t.Errorf("%d before the one that is right: %v: %s", decoys, r.State, r.Reason)
		}
	}
}

// A try over many records hashes them all, and counts for as much.
func TestATryOverManyRecordsCountsForMore(t *testing.T) {
	w := newWorld(t)
	z := w.zones["ed.example."]
	for _, c := range []struct{ records, cost int }{{1, 1}, {bigSet - 1, 1}, {bigSet, 2}, {3 * bigSet, 4}} {
		set := &rrset{owner: "\x04many\x02ed\x07example\x00", typ: dns.TypeA}
		for i := range c.records {
			set.rrs = append(set.rrs, rr(t, fmt.Sprintf("many.ed.example. 60 A 10.0.%d.%d", i>>8, i&255)))
		}
		set.sigs = []signature{{z.signWith(t, z.zsk, set.rrs), mustName(z.apex)}}
		job := w.validator(t, Options{}).newWork(t.Context())
		p := job.verify(set, mustName(z.apex), []zoneKey{{z.zsk.DNSKEY, z.zsk.KeyTag()}})
		if spent := job.v.limits.Signatures - job.tries; p.state != Secure || spent != c.cost {
			t.Errorf("%d records: %v, %d tries, want %d: %s", c.records, p.state, spent, c.cost, p.reason)
		}
	}
}
