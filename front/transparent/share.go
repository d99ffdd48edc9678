package transparent

import "sync/atomic"

// Share is a limit on connections that several doors have together.
type Share struct{ most, open atomic.Int64 }

// NewShare makes a limit. Doors that are full refuse, as where their own limit is reached.
func NewShare(most int) *Share {
	s := &Share{}
	s.Set(most)
	return s
}

// Set changes the limit from now on. Connections that are open stay.
func (s *Share) Set(most int) { s.most.Store(int64(most)) }

// take says whether there is room for one more, which [Share.give] gives back.
func (s *Share) take() bool {
	if s == nil {
		return true
	}
	if s.open.Add(1) > s.most.Load() {
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
