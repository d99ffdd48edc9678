// Package share keeps who holds how much of what many share, and says who has to give something up for another.
//
// It promises that something is taken only from the one who holds the most, that this one is left with no less than whoever gets
// it, and that nobody loses the last. It holds nothing itself, and is not safe for use by many goroutines: whoever has it guards it.
package share

import "container/heap"

// Book is who holds how much.
type Book[K comparable] struct {
	most    int // of all together
	held    int
	holders map[K]*holder[K]
	order   byMost[K]
}

type holder[K comparable] struct {
	key   K
	n     int
	index int // in the heap
}

// NewBook makes a book of so many things; at least one.
func NewBook[K comparable](most int) *Book[K] {
	return &Book[K]{most: max(most, 1), holders: map[K]*holder[K]{}}
}

// Held is how much all hold together.
func (b *Book[K]) Held() int { return b.held }

// Full says whether nothing is left.
func (b *Book[K]) Full() bool { return b.held >= b.most }

// Of is how much one holds.
func (b *Book[K]) Of(key K) int {
	if h := b.holders[key]; h != nil {
		return h.n
	}
	return 0
}

// Giver says who has to give something up for one who asks, where nothing is left: the one who holds the most, if that leaves the
// asker with no more than it; else the asker itself. It says false where the asker holds nothing and nobody more than one.
func (b *Book[K]) Giver(asker K) (key K, ok bool) {
	if len(b.order) == 0 {
		return key, false
	}
	mine := b.Of(asker)
	if top := b.order[0]; top.n > mine+1 {
		return top.key, true
	}
	return asker, mine > 0
}

// Take books one more for a holder.
func (b *Book[K]) Take(key K) {
	b.held++
	h := b.holders[key]
	if h == nil {
		h = &holder[K]{key: key, n: 1}
		b.holders[key] = h
		heap.Push(&b.order, h)
		return
	}
	h.n++
	heap.Fix(&b.order, h.index)
}

// Give books one less. Who holds nothing is forgotten.
func (b *Book[K]) Give(key K) {
	h := b.holders[key]
	if h == nil {
		return
	}
	b.held--
	if h.n--; h.n > 0 {
		heap.Fix(&b.order, h.index)
		return
	}
	heap.Remove(&b.order, h.index)
	delete(b.holders, key)
}

// byMost is a heap with the one who holds the most first.
type byMost[K comparable] []*holder[K]

func (o byMost[K]) Len() int           { return len(o) }
func (o byMost[K]) Less(i, j int) bool { return o[i].n > o[j].n }

func (o byMost[K]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].index, o[j].index = i, j
}

// Push adds a holder; heap calls it.
func (o *byMost[K]) Push(x any) {
	h := x.(*holder[K])
	h.index = len(*o)
	*o = append(*o, h)
}

// Pop takes the last holder; heap calls it.
func (o *byMost[K]) Pop() any {
	last := len(*o) - 1
	h := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return h
}
