package dnssec

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// Times of RFC 5011: how long a new key has to be seen before it is trusted, and how long a revoked one is remembered
// as such (sections 2.2 and 2.4).
const (
	addHoldDown    = 30 * 24 * time.Hour
	removeHoldDown = 30 * 24 * time.Hour
)

// maxAnchorKeys bounds the keys that an AnchorSet follows. The root has had three at once.
const maxAnchorKeys = 16

// ErrClock is returned for an observation that is older than the last one: the clock was set back.
var ErrClock = errors.New("the clock is behind the last look at the trust anchors")

// AnchorState is where a key stands (RFC 5011, section 4). A key that is not followed is in its state Start.
type AnchorState string

// The states. Valid and Missing keys are trusted.
const (
	AddPending AnchorState = "pending" // seen and signed for, and not yet for long enough
	Valid      AnchorState = "valid"
	Missing    AnchorState = "missing" // trusted, and not in the last set of keys
	Revoked    AnchorState = "revoked" // by its own signature; never trusted again
	Removed    AnchorState = "removed" // revoked so long ago that only its name is kept
)

// AnchorSet follows the key signing keys of the root as they roll over (RFC 5011). It does no I/O: its owner asks for
// the DNSKEY records of the root, shows them to Observe, stores the set as JSON, and gives Anchors to a Validator.
// It is not for more than one goroutine.
type AnchorSet struct {
	began   []Anchor // what it was made with
	digests []Anchor // DS anchors whose key was not seen yet
	keys    []anchorKey
	seen    time.Time // the last validated observation
}

type anchorKey struct {
	key   *dns.DNSKEY // without the REVOKE bit
	state AnchorState
	since time.Time     // of the state
	hold  time.Duration // of a pending key
}

// Observation is what an observation brought.
type Observation struct {
	Changes []string      // one line each, for people; empty where nothing changed
	Next    time.Duration // until the next look (RFC 5011, section 2.3)
	Retry   time.Duration // until the next look where that one fails
	// Since is when the period of the signature over the keys began: it has passed, by the word of the root. Zero where
	// no signature that is trusted holds.
	Since time.Time
}

// NewAnchorSet begins with anchors that are trusted at once: those of the program or of its configuration.
func NewAnchorSet(initial []Anchor) (*AnchorSet, error) {
	if len(initial) == 0 || len(initial) > maxAnchorKeys || slices.Contains(initial, Anchor{}) {
		return nil, fmt.Errorf("a set of trust anchors begins with 1 to %d of them", maxAnchorKeys)
	}
	s := &AnchorSet{began: slices.Clone(initial)}
	for _, a := range initial {
		if a.ds != nil {
			s.digests = append(s.digests, a)
		} else {
			s.keys = append(s.keys, anchorKey{key: a.key, state: Valid})
		}
	}
	return s, nil
}

// Anchors gives what is trusted now. It is empty where every key was revoked: then nothing can be validated until the
// program or its configuration brings a new anchor.
func (s *AnchorSet) Anchors() []Anchor {
	list := slices.Clone(s.digests)
	for _, k := range s.keys {
		if k.trusted() {
			list = append(list, Anchor{key: k.key})
		}
	}
	return list
}

// States gives the followed keys by tag and state, for people and for metrics.
func (s *AnchorSet) States() map[uint16]AnchorState {
	m := make(map[uint16]AnchorState, len(s.keys)+len(s.digests))
	for _, a := range s.digests {
		m[a.ds.KeyTag] = Valid
	}
	for _, k := range s.keys {
		m[k.key.KeyTag()] = k.state
	}
	return m
}

func (k anchorKey) trusted() bool { return k.state == Valid || k.state == Missing }

// Observe looks at a reply to the question for the DNSKEY records of the root, asked with DO. Keys are believed only
// where one that is trusted signed the set, within the signature's period; a key that is revoked has to have signed
// the set itself (RFC 5011, section 2.1), and needs no other. On an error nothing changed.
func (s *AnchorSet) Observe(wire []byte, now time.Time) (Observation, error) {
	if now.Before(s.seen) {
		return Observation{}, fmt.Errorf("%w, at %s", ErrClock, s.seen.UTC().Format(time.RFC3339))
	}
	m, err := readMessage(wire, dnswire.Question{Type: dnswire.DNSKEY})
	if err != nil {
		return Observation{}, err
	}
	set := m.answer.get(root, dns.TypeDNSKEY)
	if set == nil || m.rcode != dnswire.NoError {
		return Observation{}, errors.New("the reply has no DNSKEY of the root")
	}
	next := &AnchorSet{began: s.began, digests: slices.Clone(s.digests), keys: slices.Clone(s.keys), seen: s.seen}
	o := observer{set: next, w: offline(now), now: now, records: set, all: zoneKeys(set)}
	o.revoke()
	if err := o.validate(); err != nil {
		if len(o.Changes) == 0 {
			return Observation{}, err
		}
		o.Next, o.Retry = time.Hour, time.Hour // the revocation stands by itself
	} else {
		next.seen = now
		o.follow()
	}
	*s = *next
	return o.Observation, nil
}

// offline is work without a chain: signatures alone.
func offline(now time.Time) *work {
	v := &Validator{limits: Limits{Signatures: 128}}
	return &work{v: v, now: now, tries: v.limits.Signatures}
}

// observer is one observation under way.
type observer struct {
	Observation
	set     *AnchorSet
	w       *work
	now     time.Time
	records *rrset
	all     []zoneKey
}

func (o *observer) note(k *dns.DNSKEY, state AnchorState) {
	o.Changes = append(o.Changes, fmt.Sprintf("key %d of the root is now %s", k.KeyTag(), state))
}

// unrevoked gives the key as it was before its REVOKE bit was set, which also changes its tag.
func unrevoked(k zoneKey) zoneKey {
	plain := *k.DNSKEY
	plain.Flags &^= dns.REVOKE
	return zoneKey{&plain, plain.KeyTag()}
}

// revoke finds the keys that say of themselves, signed, that they are revoked.
func (o *observer) revoke() {
	for _, k := range o.all {
		if k.Flags&dns.REVOKE == 0 {
			continue
		}
		plain := unrevoked(k)
		i := o.set.find(plain)
		known := i >= 0 && o.set.keys[i].state != Revoked && o.set.keys[i].state != Removed
		if !known && !slices.ContainsFunc(o.set.digests, func(a Anchor) bool { return a.is(plain) }) {
			continue
		}
		if o.w.verify(o.records, root, []zoneKey{k}).state != Secure {
			continue
		}
		o.set.digests = slices.DeleteFunc(o.set.digests, func(a Anchor) bool { return a.is(plain) })
		o.set.put(anchorKey{key: plain.DNSKEY, state: Revoked, since: o.now})
		o.note(plain.DNSKEY, Revoked)
	}
}

// validate wants a signature over the set by a key that is trusted and in it.
func (o *observer) validate() error {
	trusted := o.set.Anchors()
	var keys []zoneKey
	for _, k := range o.all {
		if k.signs() && slices.ContainsFunc(trusted, func(a Anchor) bool { return a.is(k) }) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return errors.New("no key of the root in the reply is trusted")
	}
	p := o.w.verify(o.records, root, keys)
	if p.state != Secure {
		return errors.New(p.reason)
	}
	o.Since = p.since
	half, tenth := p.ttl/2, p.ttl/10
	o.Next = max(time.Hour, min(15*24*time.Hour, half))
	o.Retry = max(time.Hour, min(24*time.Hour, tenth))
	return nil
}

// follow moves every key on by what a validated set shows (RFC 5011, section 4.1).
func (o *observer) follow() {
	present := make(map[int]bool)
	for _, k := range o.all {
		if !k.signs() || k.Flags&dns.SEP == 0 {
			continue
		}
		i := o.set.find(k)
		if i < 0 {
			i = o.begin(k)
		}
		if i >= 0 {
			present[i] = true
		}
	}
	kept := o.set.keys[:0:0]
	for i, k := range o.set.keys {
		was := k.state
		switch {
		case was == AddPending && !present[i]: // back to the start: it was seen without a break, or not at all
			o.Changes = append(o.Changes, fmt.Sprintf("key %d of the root was withdrawn before it was trusted", k.key.KeyTag()))
			continue
		case was == AddPending && o.now.Sub(k.since) >= k.hold, was == Missing && present[i]:
			k.state = Valid
		case was == Valid && !present[i]:
			k.state = Missing
		case was == Revoked && o.now.Sub(k.since) >= removeHoldDown:
			k.state = Removed
		}
		if k.state != was {
			k.since = o.now
			o.note(k.key, k.state)
		}
		kept = append(kept, k)
	}
	o.set.keys = kept
}

// begin takes up a key that was not followed: trusted at once where an anchor is its digest, else pending. It gives the
// key's place, or -1 where there is no room.
func (o *observer) begin(k zoneKey) int {
	is := func(a Anchor) bool { return a.is(k) }
	entry := anchorKey{key: k.DNSKEY, state: AddPending, since: o.now, hold: max(addHoldDown, setTTL(o.records))}
	if slices.ContainsFunc(o.set.digests, is) {
		entry.state, entry.hold = Valid, 0
		o.set.digests = slices.DeleteFunc(o.set.digests, is)
	} else if len(o.set.keys)+len(o.set.digests) >= maxAnchorKeys {
		return -1
	}
	o.note(k.DNSKEY, entry.state)
	o.set.keys = append(o.set.keys, entry)
	return len(o.set.keys) - 1
}

// find gives the place of a key, or -1. The key is without its REVOKE bit.
func (s *AnchorSet) find(k zoneKey) int {
	return slices.IndexFunc(s.keys, func(e anchorKey) bool { return sameKey(e.key, k.DNSKEY) })
}

func (s *AnchorSet) put(e anchorKey) {
	if i := s.find(zoneKey{DNSKEY: e.key}); i >= 0 {
		s.keys[i] = e
		return
	}
	s.keys = append(s.keys, e)
}
