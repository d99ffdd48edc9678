package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"watertight/event"
	"watertight/fault"
)

// noChannel is the label value for events of a channel that the configuration does not have (any more). No channel
// can be called so.
const noChannel = "(none)"

// results are the response codes of RFC 1035, section 4.1.1, and the faults that a look-up can end in.
var results = newSet("other",
	"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
	string(fault.DNSNXDomain), string(fault.DNSNoData), string(fault.DNSTimeout), string(fault.DNSServFail), string(fault.DNSBogus),
	string(fault.ResolverUnreachable), string(fault.ResolverUntrusted), string(fault.NotReady), string(fault.Internal))

// ages are the upper bounds of histograms of answers that were kept, in seconds: up to those that stand in.
var ages = []float64{1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400, 259200}

// lookups counts the questions of each channel of the configuration in force.
type lookups struct {
	desc *prometheus.Desc
	took *prometheus.HistogramVec
	age  *prometheus.HistogramVec

	mu       sync.Mutex // held to change channels
	channels atomic.Pointer[map[string]*channelLookups]
}

// channelLookups is never changed but by counting, so that events of a channel that is being removed have a place.
type channelLookups struct {
	counts []atomic.Uint64 // by result
	took   prometheus.Observer
	age    prometheus.Observer
}

func newLookups(channels []string) *lookups {
	l := &lookups{
		desc: prometheus.NewDesc("watertight_lookups_total",
			"Questions to a channel's resolver, answers from its cache included, by response code or fault.",
			[]string{"channel", "result"}, nil),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "watertight_lookup_duration_seconds",
			Help:    "Time until a channel's resolver had an answer or a fault. Answers from the cache are not counted.",
			Buckets: seconds,
		}, []string{"channel"}),
		age: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "watertight_cache_age_seconds",
			Help:    "How old the answers were that the cache of a channel gave.",
			Buckets: ages,
		}, []string{"channel"}),
	}
	l.channels.Store(&map[string]*channelLookups{})
	l.set(channels)
	return l
}

// set makes channels the ones that are counted. What was counted for a channel that stays is kept.
func (l *lookups) set(channels []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := *l.channels.Load()
	next := make(map[string]*channelLookups, len(channels)+1)
	for _, name := range append([]string{noChannel}, channels...) {
		if c, ok := before[name]; ok {
			next[name] = c
			continue
		}
		next[name] = &channelLookups{counts: make([]atomic.Uint64, len(results.values)), took: l.took.WithLabelValues(name), age: l.age.WithLabelValues(name)}
	}
	l.channels.Store(&next)
	for name := range maps.Keys(before) {
		if _, ok := next[name]; !ok {
			l.took.DeleteLabelValues(name)
			l.age.DeleteLabelValues(name)
		}
	}
}

func (l *lookups) count(e *event.Lookup) {
	channels := *l.channels.Load()
	c, ok := channels[e.Channel]
	if !ok {
		c = channels[noChannel]
	}
	result := e.RCode
	if e.Code != "" {
		result = string(e.Code)
	}
	c.counts[results.of(result)].Add(1)
	if e.Hit {
		c.age.Observe(e.Age.Seconds())
	}
	if !e.Cached {
		c.took.Observe(e.Took.Seconds())
	}
}

// Describe implements [prometheus.Collector].
func (l *lookups) Describe(ch chan<- *prometheus.Desc) {
	ch <- l.desc
	l.took.Describe(ch)
	l.age.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (l *lookups) Collect(ch chan<- prometheus.Metric) {
	for name, c := range *l.channels.Load() {
		for i := range c.counts {
			ch <- prometheus.MustNewConstMetric(l.desc, prometheus.CounterValue, float64(c.counts[i].Load()), name, results.values[i])
		}
	}
	l.took.Collect(ch)
	l.age.Collect(ch)
}
