package dnswire

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// whole is a reply with everything in it that an answer takes from a message.
func whole(t *testing.T) *Answer {
	t.Helper()
	b, err := (&Request{Question: question, ID: 7, EDNS: true, Padding: 0}).Pack(Reply{
		Answer: []Record{
			must(ParseRecord("www.shop.example. 300 CNAME api.shop.example.")),
			must(ParseRecord("api.shop.example. 60 A 192.0.2.1")),
			AddrRecord("api.shop.example", 90, netip.MustParseAddr("192.0.2.2")),
		},
		Authority: []Record{must(ParseRecord("shop.example. 60 NS ns.shop.example."))},
		EDE:       []EDE{{Code: 3, Text: "of the server"}}, AD: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return must(ParseAnswer(b, question, 7))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What an Answer has and Keep forgets, the cache forgets. A new field belongs into Kept, and then into this list.
func TestEveryFieldOfAnAnswerIsKept(t *testing.T) {
	known := map[string]bool{
		"Question": true, "RCode": true, "Canonical": true, "Records": true, "TTL": true, "EDE": true, "AD": true, "Wire": true, "age": true,
		"forms": true, // what was made of Wire for clients: made again
	}
	for i := range reflect.TypeFor[Answer]().NumField() {
		if f := reflect.TypeFor[Answer]().Field(i); !known[f.Name] {
			t.Errorf("is Answer.%s kept?", f.Name)
		}
	}
	for _, change := range []func(*Answer){
		func(*Answer) {},
		func(a *Answer) { a.AD = false },
		func(a *Answer) { a.RCode = 23 },
		func(a *Answer) { a.EDE = nil },
		func(a *Answer) { *a = *a.Aged(20 * time.Second) },
	} {
		a := whole(t)
		change(a)
		kept, err := a.Keep()
		if err != nil {
			t.Fatal(err)
		}
		got, err := kept.Answer(question)
		if err != nil {
			t.Fatal(err)
		}
		same := cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Answer{}, "Wire", "forms"), cmp.AllowUnexported(Answer{}), cmpopts.IgnoreUnexported(Record{}), cmp.Comparer(func(x, y netip.Addr) bool { return x == y })}
		if diff := cmp.Diff(a, got, same); diff != "" {
			t.Errorf("-had +kept\n%s", diff)
		}
		for i := range a.Records {
			if a.Records[i].Text() != got.Records[i].Text() {
				t.Errorf("%s became %s", a.Records[i].Text(), got.Records[i].Text())
			}
		}
		if kept.RCode() != a.RCode {
			t.Errorf("RCode %d", kept.RCode())
		}
	}
}

func TestAKeptAnswerHasNoPaddingAndSharesNothing(t *testing.T) {
	a := whole(t)
	kept, err := a.Keep()
	if err != nil || len(a.Wire) != PadReply || kept.Octets() > 200 {
		t.Fatalf("%d octets are kept of %d: %v", kept.Octets(), len(a.Wire), err)
	}
	clear(a.Wire)
	a.EDE[0].Text = "changed"
	got, err := kept.Answer(question)
	if err != nil || len(got.Addrs()) != 2 || got.EDE[0].Text != "of the server" {
		t.Fatalf("%+v, %v", got, err)
	}
	got.EDE[0].Text = "changed"
	if again := must(kept.Answer(question)); again.EDE[0].Text != "of the server" {
		t.Error("one who got the answer changed what is kept")
	}
}

func TestAnAnswerThatIsKeptForLessThanItsRecordsSayTellsSo(t *testing.T) {
	a := whole(t)
	a.TTL = 5 * time.Second
	kept := must(a.Keep())
	for _, r := range must(kept.Answer(question)).Records {
		if r.TTL != 5 {
			t.Errorf("%s has a TTL of %d", r.Name, r.TTL)
		}
	}
}

func TestWhatIsNoMessageIsNotKept(t *testing.T) {
	good := whole(t).Wire
	for _, b := range [][]byte{nil, good[:11], good[:20], good[:60], append(append([]byte{}, good[:12]...), 0x40)} {
		if _, err := (&Answer{Question: question, Wire: b}).Keep(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d octets: %v", len(b), err)
		}
	}
	var none Kept
	if _, err := none.Answer(question); !errors.Is(err, ErrMalformed) {
		t.Errorf("of nothing: %v", err)
	}
	kept := must(whole(t).Keep())
	if _, err := kept.Answer(Question{Name: "other.example", Type: A}); !errors.Is(err, ErrMalformed) {
		t.Errorf("to another question: %v", err)
	}
}

func TestAStaleAnswerSaysSoAndNobodyVouchesForIt(t *testing.T) {
	a, err := whole(t).Stale(30 * time.Second)
	if err != nil || a.TTL != 30*time.Second || a.AD || len(a.EDE) != 2 || a.EDE[1].Code != 3 || len(a.Addrs()) != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, r := range a.Records {
		if r.TTL != 30 {
			t.Errorf("%s has a TTL of %d", r.Name, r.TTL)
		}
	}
	if again := must(ParseAnswer(a.Wire, question, 7)); again.AD || again.Records[1].TTL != 30 {
		t.Errorf("its message says something else: %+v", again)
	}
	b := reply(t, question, NXDomain)
	if a, err = must(ParseAnswer(b, question, 7)).Stale(30 * time.Second); err != nil || a.EDE[0].Code != 19 || a.RCode != NXDomain || a.TTL != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}
