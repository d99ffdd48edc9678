// Package metrics counts what happens in the program and shows the counts to Prometheus.
//
// It promises that no label ever holds a host name, an address, a user or a session: label values come from closed
// sets and from the names of the configuration's channels, so their number is bounded and nobody's destinations can
// be read from a graph. Counting neither blocks nor allocates. It keeps a registry of its own, and never touches the
// network: it serves its counts through an [http.Handler] that others mount.
package metrics

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"watertight/event"
	"watertight/fault"
)

// seconds are the bounds of the histograms: from a cached answer on this host to a look-up that times out.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// okCode is the code of a request whose far side was connected.
const okCode = "OK"

// Directions of relayed octets, and results of a reload: indices into their label values.
const (
	up = iota
	down
)

const (
	reloadOK = iota
	reloadFailed
)

// Options is what metrics need. All but Channels must be given.
type Options struct {
	Version  string       // of the program
	Channels []string     // names of the configuration's channels
	State    func() State // called once for each reading, from any goroutine
	Log      *slog.Logger // for trouble while metrics are read
}

func (o Options) validate() error {
	switch {
	case o.Version == "":
		return errors.New("metrics: no version is given")
	case o.State == nil:
		return errors.New("metrics: no function that tells the state is given")
	case o.Log == nil:
		return errors.New("metrics: no logger is given")
	}
	return nil
}

// Metrics is an [event.Sink] that counts.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger

	doors set
	codes set

	requests       *family
	clientResolved *family
	took           prometheus.Histogram
	relayed        *family
	tunnels        atomic.Uint64
	reloads        *family
	network        atomic.Uint64
	lookups        *lookups
}

var _ event.Sink = (*Metrics)(nil)

// New makes the counters, all at 0.
func New(o Options) (*Metrics, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	doors, codes := doorSet(), codeSet()
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		log:      o.Log,
		doors:    doors,
		codes:    codes,
		requests: newFamily("watertight_requests_total",
			"Requests decided, by door and by code: OK where the far side was connected, otherwise the fault.",
			[]string{"door", "code"}, doors.values, codes.values),
		clientResolved: newFamily("watertight_client_resolved_requests_total",
			"Requests for an address that no resolver of Watertight gave out: the client resolved the name elsewhere.",
			[]string{"door"}, doors.values),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "watertight_request_duration_seconds",
			Help:    "Time from the last octet of a request to its decision: connected or refused.",
			Buckets: seconds,
		}),
		relayed: newFamily("watertight_relayed_bytes_total",
			"Octets relayed from clients (up) and to clients (down), counted when a tunnel ends.",
			[]string{"direction"}, []string{"up", "down"}),
		reloads: newFamily("watertight_config_reloads_total",
			"Reloads of the configuration, by result. A failed one changed nothing.",
			[]string{"result"}, []string{"ok", "failed"}),
		lookups: newLookups(o.Channels),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "watertight_build_info",
		Help:        "The running program: always 1.",
		ConstLabels: prometheus.Labels{"version": o.Version, "goversion": runtime.Version()},
	})
	info.Set(1)
	network := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "watertight_network_changes_total",
		Help: "Changes of the host's network, each of which emptied every cache.",
	}, func() float64 { return float64(m.network.Load()) })
	for _, c := range []prometheus.Collector{
		info, network, m.requests, m.clientResolved, m.took, m.relayed, m.reloads, m.lookups, newStateCollector(o.State),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), // reads /proc/self, and nothing else
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return m, nil
}

func doorSet() set {
	var doors []string
	for _, d := range event.Doors() {
		doors = append(doors, string(d))
	}
	return newSet("other", doors...)
}

func codeSet() set {
	codes := []string{okCode}
	for _, c := range slices.Sorted(slices.Values(fault.Codes())) {
		codes = append(codes, string(c))
	}
	return newSet("other", codes...)
}

// Request counts a decision.
func (m *Metrics) Request(r *event.Request) {
	door, code := m.doors.of(string(r.Door)), 0
	if r.Code != "" {
		code = m.codes.of(string(r.Code))
	}
	m.requests.add(door*len(m.codes.values)+code, 1)
	if r.ClientResolved {
		m.clientResolved.add(door, 1)
	}
	m.took.Observe(r.Took.Seconds())
}

// Tunnel counts what a relay carried.
func (m *Metrics) Tunnel(t *event.Tunnel) {
	m.tunnels.Add(1)
	m.relayed.add(up, uint64(max(t.Up, 0)))
	m.relayed.add(down, uint64(max(t.Down, 0)))
}

// Lookup counts a question.
func (m *Metrics) Lookup(l *event.Lookup) { m.lookups.count(l) }

// Reloaded counts a reload of the configuration, which failed if err is not nil.
func (m *Metrics) Reloaded(err error) {
	if err != nil {
		m.reloads.add(reloadFailed, 1)
		return
	}
	m.reloads.add(reloadOK, 1)
}

// NetworkChanged counts a change of the host's network.
func (m *Metrics) NetworkChanged() { m.network.Add(1) }

// SetChannels tells the names of the channels of the configuration that is now in force. Counters of channels that
// stay are kept, those of the others disappear.
func (m *Metrics) SetChannels(names []string) { m.lookups.set(names) }

// Totals are sums since the program started, for the status.
type Totals struct {
	Requests uint64
	Refused  map[fault.Code]uint64 // what was refused, by code; only what happened
	// ClientResolved are the requests for an address that no resolver of ours gave out, by door; only what happened.
	ClientResolved map[string]uint64
	Tunnels        uint64 // relays that have ended
}

// Totals sums up.
func (m *Metrics) Totals() Totals {
	t := Totals{Refused: make(map[fault.Code]uint64), ClientResolved: make(map[string]uint64), Tunnels: m.tunnels.Load()}
	for i := range m.clientResolved.counts {
		if n := m.clientResolved.counts[i].Load(); n > 0 {
			t.ClientResolved[m.clientResolved.values[i][0]] += n
		}
	}
	for i := range m.requests.counts {
		n := m.requests.counts[i].Load()
		if n == 0 {
			continue
		}
		t.Requests += n
		if code := m.requests.values[i][1]; code != okCode {
			t.Refused[fault.Code(code)] += n
		}
	}
	return t
}

// Limits on those who read metrics.
const (
	maxReaders = 4
	maxReading = 10 * time.Second
)

// Handler serves the metrics in the text format, or in OpenMetrics where the reader prefers it.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            errorLog{m.log},
		ErrorHandling:       promhttp.ContinueOnError, // what can be told is told
		MaxRequestsInFlight: maxReaders,
		Timeout:             maxReading,
		EnableOpenMetrics:   true,
	})
}

// errorLog is what promhttp complains to.
type errorLog struct{ log *slog.Logger }

func (e errorLog) Println(v ...any) {
	e.log.Warn("metrics could not be read in full", "error", fmt.Sprint(v...))
}
