package dnssec

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// rootKeySet is the DNSKEY reply of a root with these keys, signed by those in signers.
type rootKeySet struct {
	t       *testing.T
	signers []*testKey
	others  []*testKey
	at      time.Time
}

func (s rootKeySet) wire() []byte {
	s.t.Helper()
	z := &testZone{apex: ".", inception: s.at.Add(-time.Hour), expiration: s.at.Add(20 * 24 * time.Hour)}
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Question: []dns.Question{{Name: ".", Qtype: dns.TypeDNSKEY, Qclass: 1}}}
	for _, k := range append(append([]*testKey{}, s.signers...), s.others...) {
		m.Answer = append(m.Answer, k.DNSKEY)
	}
	set := m.Answer
	for _, k := range s.signers {
		m.Answer = append(m.Answer, z.signWith(s.t, k, set))
	}
	b, err := m.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// roll is a set of anchors in a test, and its clock.
type roll struct {
	*testing.T
	set *AnchorSet
	now time.Time
}

func newRoll(t *testing.T, initial ...Anchor) *roll {
	t.Helper()
	set, err := NewAnchorSet(initial)
	if err != nil {
		t.Fatal(err)
	}
	return &roll{t, set, noon}
}

// see shows the set a reply, and stores and loads it as its owner would.
func (r *roll) see(after time.Duration, signers []*testKey, others ...*testKey) (Observation, error) {
	r.Helper()
	r.now = r.now.Add(after)
	o, err := r.set.Observe(rootKeySet{r.T, signers, others, r.now}.wire(), r.now)
	b, failed := json.Marshal(r.set)
	if failed != nil {
		r.Fatal(failed)
	}
	loaded := &AnchorSet{}
	if failed := json.Unmarshal(b, loaded); failed != nil {
		r.Fatal(failed)
	}
	if got, want := loaded.States(), r.set.States(); !reflect.DeepEqual(got, want) {
		r.Errorf("stored as %v, loaded as %v", want, got)
	}
	r.set = loaded
	return o, err
}

func (r *roll) want(k *testKey, state AnchorState) {
	r.Helper()
	plain := *k.DNSKEY
	plain.Flags &^= dns.REVOKE
	if got := r.set.States()[plain.KeyTag()]; got != state {
		r.Errorf("key %d is %q, want %q", plain.KeyTag(), got, state)
	}
}

func rootKey(t *testing.T, nth int) *testKey { return newKey(t, ".", dns.ED25519, 257, nth) }

func revoked(k *testKey) *testKey {
	c := *k.DNSKEY
	c.Flags |= dns.REVOKE
	return &testKey{&c, k.signer}
}

const day = 24 * time.Hour

func TestANewKeyIsTrustedAfterThirtyDaysWithoutABreak(t *testing.T) {
	k1, k2 := rootKey(t, 1), rootKey(t, 2)
	r := newRoll(t, Anchor{ds: k1.ToDS(dns.SHA256)})
	o, err := r.see(0, []*testKey{k1}, k2)
	if err != nil || len(o.Changes) != 2 {
		t.Fatalf("%+v, %v", o, err)
	}
	if o.Next != time.Hour || o.Retry != time.Hour { // half the TTL of an hour, and never less
		t.Errorf("%+v", o)
	}
	r.want(k1, Valid)
	r.want(k2, AddPending)
	if _, err := r.see(29*day, []*testKey{k1}, k2); err != nil {
		t.Fatal(err)
	}
	r.want(k2, AddPending)
	if _, err := r.see(12*time.Hour, []*testKey{k1}); err != nil { // gone: it starts again
		t.Fatal(err)
	}
	r.want(k2, "")
	for _, c := range []struct {
		after time.Duration
		state AnchorState
	}{{day, AddPending}, {30*day - time.Second, AddPending}, {time.Second, Valid}} {
		if _, err := r.see(c.after, []*testKey{k1}, k2); err != nil {
			t.Fatal(err)
		}
		r.want(k2, c.state)
	}
	if n := len(r.set.Anchors()); n != 2 {
		t.Errorf("%d anchors", n)
	}
	if _, err := r.see(day, []*testKey{k2}); err != nil { // it now speaks for the root alone
		t.Fatal(err)
	}
	r.want(k1, Missing)
	if _, err := r.see(day, []*testKey{k1}, k2); err != nil { // which is still trusted
		t.Fatal(err)
	}
	r.want(k1, Valid)
}

func TestAKeyThatRevokesItselfIsNeverTrustedAgain(t *testing.T) {
	k1, k2 := rootKey(t, 1), rootKey(t, 2)
	r := newRoll(t, Anchor{key: k1.DNSKEY}, Anchor{ds: k2.ToDS(dns.SHA256)})
	if _, err := r.see(0, []*testKey{k1}, k2); err != nil {
		t.Fatal(err)
	}
	if _, err := r.see(day, []*testKey{k2}, revoked(k1)); err != nil { // it did not sign this itself
		t.Fatal(err)
	}
	r.want(k1, Missing)
	if o, err := r.see(day, []*testKey{k2, revoked(k1)}); err != nil || len(o.Changes) != 1 || !strings.Contains(o.Changes[0], "revoked") {
		t.Fatalf("%+v, %v", o, err)
	}
	r.want(k1, Revoked)
	if _, err := r.see(day, []*testKey{k1}, k2); err == nil {
		t.Error("a revoked key speaks for the root")
	}
	if _, err := r.see(day, []*testKey{k2}, k1); err != nil {
		t.Fatal(err)
	}
	r.want(k1, Revoked)
	if _, err := r.see(30*day, []*testKey{k2}); err != nil {
		t.Fatal(err)
	}
	r.want(k1, Removed)
	if _, err := r.see(60*day, []*testKey{k2}, k1); err != nil {
		t.Fatal(err)
	}
	r.want(k1, Removed)
	if _, err := r.see(day, []*testKey{revoked(k2)}); err != nil { // the last one too: nothing is left, and nothing opens
		t.Fatal(err)
	}
	if n := len(r.set.Anchors()); n != 0 {
		t.Errorf("%d anchors", n)
	}
	v, err := New(Options{}, (&world{}).ask)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.SetAnchors(r.set.Anchors()); err == nil {
		t.Error("a validator takes an empty set")
	}
}

// A digest names the key as it was: the key that it stands for can revoke itself before it was ever seen otherwise.
func TestAnAnchorThatIsADigestCanBeRevoked(t *testing.T) {
	k1, k2 := rootKey(t, 1), rootKey(t, 2)
	r := newRoll(t, Anchor{ds: k1.ToDS(dns.SHA256)}, Anchor{ds: k2.ToDS(dns.SHA384)})
	if _, err := r.see(0, []*testKey{k2, revoked(k1)}); err != nil {
		t.Fatal(err)
	}
	r.want(k1, Revoked)
	r.want(k2, Valid)
}

func TestKeysThatNobodyTrustedSignedForChangeNothing(t *testing.T) {
	k1, k2 := rootKey(t, 1), rootKey(t, 2)
	r := newRoll(t, Anchor{key: k1.DNSKEY})
	before, _ := json.Marshal(r.set)
	for name, wire := range map[string][]byte{
		"another root":  rootKeySet{t, []*testKey{k2}, []*testKey{k1}, r.now}.wire(),
		"out of time":   rootKeySet{t, []*testKey{k1}, []*testKey{k2}, r.now.Add(-30 * day)}.wire(),
		"not yet":       rootKeySet{t, []*testKey{k1}, []*testKey{k2}, r.now.Add(30 * day)}.wire(),
		"no message":    []byte("x"),
		"no signatures": rootKeySet{t, nil, []*testKey{k1, k2}, r.now}.wire(),
	} {
		if o, err := r.set.Observe(wire, r.now); err == nil || len(o.Changes) != 0 {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	if after, _ := json.Marshal(r.set); string(after) != string(before) {
		t.Errorf("%s became %s", before, after)
	}
}

func TestAClockThatWasSetBackIsNoticed(t *testing.T) {
	k1 := rootKey(t, 1)
	r := newRoll(t, Anchor{key: k1.DNSKEY})
	if _, err := r.see(day, []*testKey{k1}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.see(-time.Second, []*testKey{k1}); !errors.Is(err, ErrClock) {
		t.Error(err)
	}
}

func TestTheKeysThatAreFollowedAreBounded(t *testing.T) {
	k1 := rootKey(t, 1)
	r := newRoll(t, Anchor{key: k1.DNSKEY})
	var many []*testKey
	for i := range 30 {
		many = append(many, rootKey(t, 10+i))
	}
	if _, err := r.see(0, []*testKey{k1}, many...); err != nil {
		t.Fatal(err)
	}
	if n := len(r.set.States()); n != maxAnchorKeys {
		t.Errorf("%d keys", n)
	}
}

func TestAnAnchorOfWhichAPartIsMissingIsRefused(t *testing.T) {
	for _, s := range []string{
		strings.TrimSuffix(rootAnchors[0], "8D"), rootAnchors[0] + "00", ". IN DS 20326 8 2 E06D", ". IN DS 20326 8 4 " + strings.Repeat("00", 32),
		". IN DNSKEY 257 3 8 AwEAAQ==", ". IN DNSKEY 257 3 13 AwEAAQ==", ". IN DNSKEY 257 3 14 AwEAAQ==", ". IN DNSKEY 257 3 15 AwEAAQ==",
	} {
		if _, err := ParseAnchor(s); err == nil || !strings.Contains(err.Error(), "part of it is missing") {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, algorithm := range []uint8{dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519} {
		k := newKey(t, ".", algorithm, 257, 0)
		for _, s := range []string{k.DNSKEY.String(), k.ToDS(dns.SHA1).String(), k.ToDS(dns.SHA256).String(), k.ToDS(dns.SHA384).String()} {
			if _, err := ParseAnchor(s); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
}

func TestTheAnchorsOfTheProgramAreThoseOfTheRoot(t *testing.T) {
	anchors := RootAnchors()
	if len(anchors) != 2 || anchors[0].ds.KeyTag != 20326 || anchors[1].ds.KeyTag != 38696 {
		t.Fatal(anchors)
	}
	keys := []string{ // as the root publishes them; the digests have to fit
		". IN DNSKEY 257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU=",
		". IN DNSKEY 257 3 8 AwEAAa96jeuknZlaeSrvyAJj6ZHv28hhOKkx3rLGXVaC6rXTsDc449/cidltpkyGwCJNnOAlFNKF2jBosZBU5eeHspaQWOmOElZsjICMQMC3aeHbGiShvZsx4wMYSjH8e7Vrhbu6irwCzVBApESjbUdpWWmEnhathWu1jo+siFUiRAAxm9qyJNg/wOZqqzL/dL/q8PkcRU5oUKEpUge71M3ej2/7CPqpdVwuMoTvoB+ZOT4YeGyxMvHmbrxlFzGOHOijtzN+u1TQNatX2XBuzZNQ1K+s2CXkPIZo7s6JgZyvaBevYtxPvYLw4z9mR7K2vaF18UYH9Z9GNUUeayffKC73PYc=",
	}
	for i, text := range keys {
		k, err := ParseAnchor(text)
		if err != nil || !anchors[i].is(zoneKey{k.key, k.key.KeyTag()}) {
			t.Errorf("%d: %v", i, err)
		}
		if back, err := ParseAnchor(anchors[i].String()); err != nil || back.String() != anchors[i].String() {
			t.Errorf("%v, %v", back, err)
		}
	}
	for _, s := range []string{"", "x", "example. IN DS 1 8 2 00", ". IN A 192.0.2.1", ". IN DS 1 5 2 00", ". IN DS 1 8 9 00", ". IN DNSKEY 385 3 8 AwEAAQ==", ". IN DNSKEY 1 3 8 AwEAAQ==", strings.Repeat("x", 5000)} {
		if a, err := ParseAnchor(s); err == nil {
			t.Errorf("%.40q: %v", s, a)
		}
	}
}
