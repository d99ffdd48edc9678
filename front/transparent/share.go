package transparent

import "sync/atomic"

// Share is a limit on connections that several doors have together. None can take all: a door that has four times what is left, or
// more, is full, so that there is room for one that has few.
type Share struct{ most, open atomic.Int64 }

// NewShare makes a limit. Doors that are full refuse, as where their own limit is reached.
func NewShare(most int) *Share {
	s := &Share{}
	s.Set(most)
	return s
}

// Set changes the limit from now on. Connections that are open stay.
func (s *Share) Set(most int) { s.most.Store(int64(most)) }

// ofLeft is how many times as many as there is room left for one door may have.
const ofLeft = 4

// take says whether there is room for one more of a door that has so many, which [Share.give] gives back.
func (s *Share) take(has int64) bool {
	if s == nil {
		return true
	}
	if left := s.most.Load() - s.open.Add(1) + 1; left <= 0 || has >= ofLeft*left {
		s.open.Add(-1)
		return false
	}
	return true
}

func (s *Share) give() {
	if s != nil {
		s.open.Add(-1)
	}
}
