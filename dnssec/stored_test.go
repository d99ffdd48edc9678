package dnssec

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// stored is a set as text: what it began with, its digests and its keys, each as a part of the JSON.
func stored(began, digests, keys string) string {
	return `{"version":1,"began":[` + began + `],"digests":[` + digests + `],"keys":[` + keys + `]}`
}

func quoted(a Anchor) string { return `"` + a.String() + `"` }

func keyIn(a Anchor, more string) string { return `{"key":` + quoted(a) + more + `}` }

func TestAStoredSetThatIsNoneIsRefused(t *testing.T) {
	one, two := Anchor{key: rootKey(t, 1).DNSKEY}, Anchor{key: rootKey(t, 2).DNSKEY}
	ds := Anchor{ds: rootKey(t, 1).ToDS(dns.SHA256)}
	const since = `,"since":"2026-05-01T00:00:00Z"`
	initial := []Anchor{one}
	for what, s := range map[string]string{
		"nothing":                    ``,
		"an empty map":               `{}`,
		"a list":                     `[]`,
		"no anchors":                 `{"version":1}`,
		"a later version":            strings.Replace(stored(quoted(one), "", keyIn(one, `,"state":"valid"`)), `:1`, `:2`, 1),
		"no beginning":               stored("", "", keyIn(one, `,"state":"valid"`)),
		"a beginning that is none":   stored(`"x"`, "", keyIn(one, `,"state":"valid"`)),
		"a digest that is none":      stored(quoted(one), `"x"`, keyIn(one, `,"state":"valid"`)),
		"a key as digest":            stored(quoted(one), quoted(one), keyIn(one, `,"state":"valid"`)),
		"a digest as key":            stored(quoted(one), "", keyIn(one, `,"state":"valid"`)+","+keyIn(ds, `,"state":"valid"`)),
		"an unknown state":           stored(quoted(one), "", keyIn(one, `,"state":"trusted"`)),
		"no state":                   stored(quoted(one), "", keyIn(one, ``)),
		"a key that is none":         stored(quoted(one), "", keyIn(one, `,"state":"valid"`)+`,{"key":"x","state":"valid"}`),
		"a time that runs back":      stored(quoted(one), "", keyIn(one, `,"state":"valid"`)+","+keyIn(two, `,"state":"pending","hold_seconds":-1`+since)),
		"a time without end":         stored(quoted(one), "", keyIn(one, `,"state":"valid"`)+","+keyIn(two, `,"state":"pending","hold_seconds":99999999999`+since)),
		"pending since no time":      stored(quoted(one), "", keyIn(one, `,"state":"valid"`)+","+keyIn(two, `,"state":"pending"`)),
		"a key twice":                stored(quoted(one), "", keyIn(one, `,"state":"revoked"`)+","+keyIn(one, `,"state":"valid"`)),
		"the beginning is forgotten": stored(quoted(one), "", keyIn(two, `,"state":"valid"`)),
		"too many":                   stored(quoted(one), "", strings.TrimSuffix(strings.Repeat(keyIn(one, `,"state":"valid"`)+",", 2*maxAnchorKeys+1), ",")),
		"cut off":                    stored(quoted(one), "", keyIn(one, `,"state":"valid"`))[:100],
	} {
		if set, err := RestoreAnchorSet(initial, []byte(s)); err == nil || set != nil {
			t.Errorf("%s is taken", what)
		}
	}
	good := stored(quoted(one), "", keyIn(one, `,"state":"valid"`)+","+keyIn(two, `,"state":"pending"`+since))
	set, err := RestoreAnchorSet(initial, []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Anchors(); len(got) != 1 || got[0].String() != one.String() {
		t.Errorf("trusted: %v", got)
	}
	if _, err := NewAnchorSet(nil); err == nil {
		t.Error("a set of nothing")
	}
	if _, err := RestoreAnchorSet(nil, []byte(good)); err == nil {
		t.Error("a set of nothing is restored")
	}
}

func TestAStoredSetBelongsToTheAnchorsThatItBeganWith(t *testing.T) {
	k1, k2, k3 := rootKey(t, 1), rootKey(t, 2), rootKey(t, 3)
	began := []Anchor{{ds: k1.ToDS(dns.SHA256)}, {ds: k2.ToDS(dns.SHA256)}}
	r := newRoll(t, began...)
	if _, err := r.see(0, []*testKey{k1}, k3); err != nil { // k2 was not seen yet, k1 is a key now, k3 is pending
		t.Fatal(err)
	}
	text, err := json.Marshal(r.set)
	if err != nil {
		t.Fatal(err)
	}
	for what, initial := range map[string][]Anchor{
		"one less":           began[:1],
		"one more":           append(slices.Clone(began), Anchor{ds: k3.ToDS(dns.SHA256)}),
		"another":            {began[0], {ds: k3.ToDS(dns.SHA256)}},
		"what it trusts now": r.set.Anchors(),
		"the program's":      RootAnchors(),
	} {
		if _, err := RestoreAnchorSet(initial, text); !errors.Is(err, ErrOtherAnchors) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, initial := range [][]Anchor{began, {began[1], began[0]}} {
		set, err := RestoreAnchorSet(initial, text)
		if err != nil {
			t.Fatal(err)
		}
		r.set = set
		r.want(k1, Valid)
		r.want(k2, Valid)
		r.want(k3, AddPending)
	}
}

// The time that a new key waits goes on where the program stops in between (RFC 5011, section 2.2).
func TestAKeyThatWasPendingIsTrustedAfterItsTimeByASetThatWasRestored(t *testing.T) {
	k1, k2 := rootKey(t, 1), rootKey(t, 2)
	initial := []Anchor{{key: k1.DNSKEY}}
	r := newRoll(t, initial...)
	restart := func() {
		text, err := json.Marshal(r.set)
		if err != nil {
			t.Fatal(err)
		}
		if r.set, err = RestoreAnchorSet(initial, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		after time.Duration
		state AnchorState
	}{{0, AddPending}, {10 * day, AddPending}, {19 * day, AddPending}, {day, Valid}} {
		if _, err := r.see(c.after, []*testKey{k1}, k2); err != nil {
			t.Fatal(err)
		}
		restart()
		r.want(k2, c.state)
	}
	if _, err := r.see(day, []*testKey{k2, revoked(k1)}); err != nil { // it did not sign: the key is missing
		t.Fatal(err)
	}
	restart()
	if _, err := r.see(day, []*testKey{k2, revoked(k1), k1}); err != nil {
		t.Fatal(err)
	}
	r.want(k1, Revoked)
	restart()
	r.want(k1, Revoked)
	if got := r.set.Anchors(); len(got) != 1 || !got[0].is(zoneKey{k2.DNSKEY, k2.KeyTag()}) {
		t.Errorf("trusted: %v", got)
	}
}

func TestAnObservationSaysSinceWhenTheRootHasSignedItsKeys(t *testing.T) {
	k1 := rootKey(t, 1)
	r := newRoll(t, Anchor{key: k1.DNSKEY})
	o, err := r.see(day, []*testKey{k1})
	if err != nil || !o.Since.Equal(r.now.Add(-time.Hour)) {
		t.Errorf("%v, %v", o.Since, err)
	}
	o, err = r.see(day, []*testKey{revoked(k1)}) // by its own word, which nobody trusts
	if err != nil || !o.Since.IsZero() {
		t.Errorf("%v, %v", o.Since, err)
	}
}

func FuzzAStoredSetIsRefusedOrComesBackTheSame(f *testing.F) {
	k1 := newKey(f, ".", dns.ED25519, 257, 1)
	initial := []Anchor{{key: k1.DNSKEY}, {ds: k1.ToDS(dns.SHA384)}}
	set, err := NewAnchorSet(initial)
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(set)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(stored(quoted(initial[0]), quoted(initial[1]), keyIn(initial[0], `,"state":"revoked"`))))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := RestoreAnchorSet(initial, b)
		if err != nil {
			return
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := RestoreAnchorSet(initial, out)
		if err != nil {
			t.Fatalf("%s\nis written as\n%s\nwhich is refused: %v", b, out, err)
		}
		if twice, _ := json.Marshal(again); string(twice) != string(out) {
			t.Errorf("%s\nbecomes\n%s", out, twice)
		}
	})
}
