package dnssec

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// storedSet is an AnchorSet as JSON.
type storedSet struct {
	Version int         `json:"version"` // 1
	Began   []string    `json:"began"`
	Seen    time.Time   `json:"seen"`
	Digests []string    `json:"digests"`
	Keys    []storedKey `json:"keys"`
}

type storedKey struct {
	Key     string      `json:"key"`
	State   AnchorState `json:"state"`
	Since   time.Time   `json:"since"`
	Seconds int64       `json:"hold_seconds,omitempty"`
}

// MarshalJSON writes the set for its owner to store.
func (s *AnchorSet) MarshalJSON() ([]byte, error) {
	out := storedSet{Version: 1, Began: []string{}, Seen: s.seen, Digests: []string{}, Keys: []storedKey{}}
	for _, a := range s.began {
		out.Began = append(out.Began, a.String())
	}
	for _, a := range s.digests {
		out.Digests = append(out.Digests, a.String())
	}
	for _, k := range s.keys {
		out.Keys = append(out.Keys, storedKey{Anchor{key: k.key}.String(), k.state, k.since, int64(k.hold / time.Second)})
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote, and refuses what it would not have written.
func (s *AnchorSet) UnmarshalJSON(b []byte) error {
	var in storedSet
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in.Version != 1 || len(in.Digests)+len(in.Keys) == 0 || len(in.Digests)+len(in.Keys) > 2*maxAnchorKeys {
		return errors.New("not a stored set of trust anchors")
	}
	if len(in.Began) == 0 || len(in.Began) > maxAnchorKeys {
		return errors.New("a stored set of trust anchors does not say what it began with")
	}
	out := AnchorSet{seen: in.Seen}
	for _, text := range in.Began {
		a, err := ParseAnchor(text)
		if err != nil {
			return fmt.Errorf("a stored anchor is none: %.80q", text)
		}
		out.began = append(out.began, a)
	}
	for _, text := range in.Digests {
		a, err := ParseAnchor(text)
		if err != nil || a.ds == nil {
			return fmt.Errorf("a stored digest is none: %.80q", text)
		}
		out.digests = append(out.digests, a)
	}
	for _, k := range in.Keys {
		a, err := ParseAnchor(k.Key)
		if err != nil || a.key == nil || k.Seconds < 0 || k.Seconds > int64(365*24*time.Hour/time.Second) {
			return fmt.Errorf("a stored key is none: %.80q", k.Key)
		}
		hold := time.Duration(k.Seconds) * time.Second
		if out.find(zoneKey{DNSKEY: a.key}) >= 0 {
			return fmt.Errorf("a key is stored twice: %.80q", k.Key)
		}
		switch k.State {
		case AddPending:
			if k.Since.IsZero() {
				return fmt.Errorf("a stored key is pending since no time: %.80q", k.Key)
			}
			hold = max(hold, addHoldDown)
		case Valid, Missing, Revoked, Removed:
		default:
			return fmt.Errorf("a stored key is in no known state: %.40q", k.State)
		}
		out.keys = append(out.keys, anchorKey{a.key, k.State, k.Since, hold})
	}
	for _, a := range out.began {
		known := slices.ContainsFunc(out.digests, func(d Anchor) bool { return d.String() == a.String() }) ||
			slices.ContainsFunc(out.keys, func(k anchorKey) bool { return a.is(zoneKey{k.key, k.key.KeyTag()}) })
		if !known {
			return fmt.Errorf("a stored set does not say what became of an anchor that it began with: %.80q", a)
		}
	}
	*s = out
	return nil
}

// ErrOtherAnchors is returned for a stored set that began with other anchors than those which are trusted now.
var ErrOtherAnchors = errors.New("the stored set began with other trust anchors")

// RestoreAnchorSet reads what MarshalJSON wrote of a set that began with the same anchors, in any order. On an error
// begin with [NewAnchorSet]: then nothing of the text is trusted.
func RestoreAnchorSet(initial []Anchor, text []byte) (*AnchorSet, error) {
	if _, err := NewAnchorSet(initial); err != nil {
		return nil, err
	}
	s := &AnchorSet{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	if !slices.Equal(sorted(initial), sorted(s.began)) {
		return nil, ErrOtherAnchors
	}
	return s, nil
}

// sorted gives anchors as texts, each once.
func sorted(list []Anchor) []string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}
