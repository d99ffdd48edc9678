package capture

import (
	"encoding/binary"
	"fmt"
)

// shortest is the least number of octets of a name that is searched for by a [Finder]: a shorter one occurs by chance.
const shortest = 8

// Found is a name that a [Finder] found, and how it was written.
type Found struct {
	Name, Form string
}

// Finder finds any of many names in octets, in every disguise that [Search] knows, in time that does not grow with their number.
// It may be used by one goroutine at a time.
type Finder struct {
	folded, exact table
	longest       int
	scratch       []byte
}

// table leads from the first four octets of what is looked for to all of it. The filter says which are worth it.
type table struct {
	filter [1 << 10]uint64
	after  map[uint32][]target
}

type target struct {
	text []byte
	is   Found
}

// NewFinder prepares to look for names. A name of less than 8 octets is an error.
func NewFinder(names []string) (*Finder, error) {
	f := &Finder{folded: table{after: map[uint32][]target{}}, exact: table{after: map[uint32][]target{}}}
	for _, name := range names {
		if err := f.Add(name); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Add has one more name looked for. One of less than 8 octets is an error.
func (f *Finder) Add(name string) error {
	if len(name) < shortest {
		return fmt.Errorf("capture: a name of less than %d octets is not searched for", shortest)
	}
	for _, n := range needles(name) {
		t := &f.exact
		if n.fold {
			t = &f.folded
		}
		t.add(target{n.text, Found{name, n.form}})
		f.longest = max(f.longest, len(n.text))
	}
	return nil
}

// Longest is how many octets the longest disguise has: in octets that come in parts, what is split is found if so many of those
// before are looked at again.
func (f *Finder) Longest() int { return f.longest }

// Find gives each name that is in b once, in the form in which it comes first.
func (f *Finder) Find(b []byte) []Found {
	if len(f.exact.after) == 0 || len(b) < minNeedle {
		return nil
	}
	found := f.exact.find(b, nil)
	f.scratch = append(f.scratch[:0], b...)
	for i, c := range f.scratch {
		if 'A' <= c && c <= 'Z' {
			f.scratch[i] = c + 'a' - 'A'
		}
	}
	return f.folded.find(f.scratch, found)
}

func (t *table) add(one target) {
	key := binary.LittleEndian.Uint32(one.text)
	at := hashed(key)
	t.filter[at>>6] |= 1 << (at & 63)
	t.after[key] = append(t.after[key], one)
}

func hashed(key uint32) uint32 { return key * 0x9e3779b1 >> 16 }

func (t *table) find(b []byte, found []Found) []Found {
	for i := 0; i+minNeedle <= len(b); i++ {
		key := binary.LittleEndian.Uint32(b[i:])
		at := hashed(key)
		if t.filter[at>>6]&(1<<(at&63)) == 0 {
			continue
		}
		for _, one := range t.after[key] {
			if len(b)-i >= len(one.text) && string(b[i:i+len(one.text)]) == string(one.text) && !has(found, one.is.Name) {
				found = append(found, one.is)
			}
		}
	}
	return found
}

func has(found []Found, name string) bool {
	for _, one := range found {
		if one.Name == name {
			return true
		}
	}
	return false
}
