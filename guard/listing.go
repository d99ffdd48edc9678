package guard

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// maxObjects bounds what is read of a listing.
const maxObjects = 4096

// found is what the kernel has of the guard.
type found struct {
	inet, netdev bool // which tables there are
	counters     Counters
	uplinks      []string // devices whose frames go through the chain `frames`, sorted
	bad          string   // what is wrong at a device, or why it cannot be read
	digest       string   // of all rules, without what changes by itself: handles, counters, devices, kept connections
}

func (f found) none() bool { return !f.inet && !f.netdev }

// lacks says what is gone.
func (f found) lacks() string {
	switch {
	case f.none():
		return "the tables inet watertight_guard and netdev watertight_guard are gone"
	case !f.inet:
		return "the table inet watertight_guard is gone"
	case !f.netdev:
		return "the table netdev watertight_guard is gone"
	}
	return f.bad
}

// whole says what of it is not there.
func (f found) whole(uplinks []string) error {
	if lacks := f.lacks(); lacks != "" {
		return errors.New(lacks)
	}
	return f.covers(uplinks)
}

// covers says which devices are not looked at.
func (f found) covers(uplinks []string) error {
	var not []string
	for _, d := range uplinks {
		if !slices.Contains(f.uplinks, d) {
			not = append(not, d)
		}
	}
	if not != nil {
		return fmt.Errorf("what is sent by %s is not looked at", strings.Join(not, ", "))
	}
	return nil
}

// seen remembers what was read back after it was loaded anew, where the file could not be written.
type seen struct {
	mu     sync.Mutex
	of     *kept
	digest string
}

func (s *seen) note(of *kept, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := *of
	s.of, s.digest = &copied, digest
}

func (s *seen) is(of *kept, digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return digest != "" && s.digest == digest && s.of.same(of)
}

// parse reads what `nft -j list table` tells of the tables (libnftables-json(5)).
func parse(listings ...[]byte) (found, error) {
	var f found
	digest := sha256.New()
	for _, b := range listings {
		var listing struct {
			Nftables []map[string]json.RawMessage `json:"nftables"`
		}
		if err := json.Unmarshal(b, &listing); err != nil {
			return found{}, fmt.Errorf("what nft tells cannot be read: %w", err)
		}
		if len(listing.Nftables) > maxObjects {
			return found{}, fmt.Errorf("nft tells of %d objects, and at most %d are read", len(listing.Nftables), maxObjects)
		}
		canonical, err := f.read(listing.Nftables)
		if err != nil {
			return found{}, err
		}
		digest.Write(canonical)
	}
	f.digest = hex.EncodeToString(digest.Sum(nil))
	return f, nil
}

// object is what is looked at of one.
type object struct {
	Family  string          `json:"family"`
	Name    string          `json:"name"`
	Chain   string          `json:"chain"`
	Hook    string          `json:"hook"`
	Policy  string          `json:"policy"`
	Prio    int             `json:"prio"`
	Packets uint64          `json:"packets"`
	Expr    json.RawMessage `json:"expr"`
}

// read takes the objects of a table in, and gives what of them has to stay as it is. The chain of the devices is not part of that:
// where there is none, there is no chain.
func (f *found) read(objects []map[string]json.RawMessage) ([]byte, error) {
	var out bytes.Buffer
	var rules []string
	chained := false
	for _, one := range objects {
		for kind, raw := range one {
			var o object
			if err := json.Unmarshal(raw, &o); err != nil {
				return nil, fmt.Errorf("what nft tells of a %s cannot be read: %w", kind, err)
			}
			switch {
			case kind == "metainfo":
				continue
			case kind == "table":
				f.inet, f.netdev = f.inet || o.Family == "inet", f.netdev || o.Family == "netdev"
			case kind == "counter":
				f.count(o.Name, o.Packets)
			case kind == "chain" && o.Family == "netdev" && o.Name == "egress":
				if o.Hook != "egress" || o.Policy != "drop" || o.Prio != 0 {
					f.bad = "the chain egress of the table netdev watertight_guard is another than was loaded"
				}
				chained = true
				continue
			case kind == "rule" && o.Family == "netdev" && o.Chain == "egress":
				var b bytes.Buffer
				if err := json.Compact(&b, o.Expr); err != nil {
					return nil, errors.New("what nft tells of a rule cannot be read")
				}
				rules = append(rules, b.String())
				continue
			}
			c, err := canonical(kind, o.Name, raw)
			if err != nil {
				return nil, err
			}
			out.Write(c)
		}
	}
	if chained && !slices.Equal(rules, []string{`[{"goto":{"target":"frames"}}]`}) {
		f.bad = "the rules of the chain egress of the table netdev watertight_guard are others than were loaded"
	}
	return out.Bytes(), nil
}

func (f *found) count(name string, n uint64) {
	switch name {
	case "dns":
		f.counters.DNS = n
	case "dot":
		f.counters.DoT = n
	case "local_names":
		f.counters.LocalNames = n
	case "forwarded":
		f.counters.Forwarded = n
	case "other":
		f.counters.Other = n
	case "raw":
		f.counters.Raw = n
	}
}

// canonical gives an object without what changes by itself, in one spelling.
func canonical(kind, name string, raw []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var o map[string]any
	if err := d.Decode(&o); err != nil {
		return nil, fmt.Errorf("what nft tells of a %s cannot be read: %w", kind, err)
	}
	delete(o, "handle")
	switch kind {
	case "counter":
		delete(o, "packets")
		delete(o, "bytes")
	case "set":
		switch elem, _ := o["elem"].([]any); {
		case name == "uplinks" || name == "kept4" || name == "kept6":
			delete(o, "elem")
		case elem != nil:
			if err := sorted(elem); err != nil {
				return nil, err
			}
		}
	}
	b, err := json.Marshal(map[string]any{kind: o})
	return append(b, '\n'), err
}

// sorted puts the elements of a set in order, which the kernel tells in one of its own.
func sorted(elem []any) error {
	type pair struct {
		text string
		of   any
	}
	all := make([]pair, len(elem))
	for i, e := range elem {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		all[i] = pair{string(b), e}
	}
	slices.SortFunc(all, func(a, b pair) int { return strings.Compare(a.text, b.text) })
	for i := range all {
		elem[i] = all[i].of
	}
	return nil
}
