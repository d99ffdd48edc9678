package resolve

import "sync/atomic"

// Budget bounds what several caches take together. One that would go beyond it forgets of its own, what it was about to
// keep included: nothing is taken from the others.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget makes a budget of so many octets. With none it is that of caches that keep failures only.
func NewBudget(octets int) *Budget {
	if octets == 0 {
		octets = failureOctets
	}
	return &Budget{max: int64(octets)}
}

// Used gives the octets that are taken, and how many there are.
func (b *Budget) Used() (octets, most int) { return int(b.used.Load()), int(b.max) }

func (b *Budget) take(n int) {
	if b != nil {
		b.used.Add(int64(n))
	}
}

func (b *Budget) over() bool { return b != nil && b.used.Load() > b.max }
