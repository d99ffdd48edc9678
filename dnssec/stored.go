package dnssec

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// storedSet is an AnchorSet as JSON.
type storedSet struct {
	Version int         `json:"version"` // 1
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
	out := storedSet{Version: 1, Seen: s.seen, Digests: []string{}, Keys: []storedKey{}}
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
	out := AnchorSet{seen: in.Seen}
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
		switch k.State {
		case AddPending:
			hold = max(hold, addHoldDown)
		case Valid, Missing, Revoked, Removed:
		default:
			return fmt.Errorf("a stored key is in no known state: %.40q", k.State)
		}
		out.keys = append(out.keys, anchorKey{a.key, k.State, k.Since, hold})
	}
	*s = out
	return nil
}
