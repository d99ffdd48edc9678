package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// family is a metric over closed sets of label values. All of its counters are there from the start, so that a rate
// knows the first event too, and counting is one atomic addition at a known index.
type family struct {
	desc   *prometheus.Desc
	values [][]string // the label values of each counter
	counts []atomic.Uint64
}

// newFamily makes the counters of every combination of the label values, the last label varying fastest.
func newFamily(name, help string, labels []string, sets ...[]string) *family {
	values := [][]string{nil}
	for _, set := range sets {
		var next [][]string
		for _, head := range values {
			for _, v := range set {
				next = append(next, append(head[:len(head):len(head)], v))
			}
		}
		values = next
	}
	return &family{
		desc:   prometheus.NewDesc(name, help, labels, nil),
		values: values,
		counts: make([]atomic.Uint64, len(values)),
	}
}

func (f *family) add(index int, n uint64) { f.counts[index].Add(n) }

// Describe implements [prometheus.Collector].
func (f *family) Describe(ch chan<- *prometheus.Desc) { ch <- f.desc }

// Collect implements [prometheus.Collector].
func (f *family) Collect(ch chan<- prometheus.Metric) {
	for i := range f.counts {
		ch <- prometheus.MustNewConstMetric(f.desc, prometheus.CounterValue, float64(f.counts[i].Load()), f.values[i]...)
	}
}

// set is a closed set of label values. What is not in it is counted under its last value.
type set struct {
	values []string
	index  map[string]int
}

// newSet makes a set, and puts the value for all others at its end.
func newSet(others string, values ...string) set {
	s := set{values: append(values[:len(values):len(values)], others), index: make(map[string]int, len(values))}
	for i, v := range values {
		s.index[v] = i
	}
	return s
}

func (s set) of(value string) int {
	if i, ok := s.index[value]; ok {
		return i
	}
	return len(s.values) - 1
}
