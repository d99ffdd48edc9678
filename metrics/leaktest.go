package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// LeakTestState is what came of the program's tests of itself, since it started.
type LeakTestState struct {
	Runs    map[string]uint64 // by verdict
	Last    time.Time         // when the last test began; zero where there was none
	Took    time.Duration     // the last test
	Verdict string            // of the last test; empty where there was none
	Cases   map[string]int    // of the last test, by verdict
	Closed  bool              // a leak has closed everything
	Untold  uint64            // what the webhook could not be told
}

// The verdicts of a test, and of its cases.
var (
	runVerdicts  = []string{"sealed", "leak", "inconclusive"}
	caseVerdicts = []string{"sealed", "leak", "inconclusive", "skipped"}
)

type leakTestDescs struct{ runs, last, took, verdict, cases, closed, untold *prometheus.Desc }

func newLeakTestDescs() leakTestDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("watertight_leaktest_"+name, help, labels, nil)
	}
	return leakTestDescs{
		runs:    desc("runs_total", "Tests of the program by itself, by verdict.", "verdict"),
		last:    desc("last_run_timestamp_seconds", "When the last test began, in seconds since 1970; 0 where there was none."),
		took:    desc("last_run_duration_seconds", "How long the last test took."),
		verdict: desc("last_run_verdict", "The verdict of the last test: 1 for the one that it is, 0 for the others.", "verdict"),
		cases:   desc("last_run_cases", "The cases of the last test, by verdict.", "verdict"),
		closed:  desc("closed", "Whether a leak has closed everything (1) or not (0)."),
		untold:  desc("webhook_failures_total", "Outcomes that the webhook could not be told."),
	}
}

func (l leakTestDescs) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.runs, l.last, l.took, l.verdict, l.cases, l.closed, l.untold} {
		ch <- d
	}
}

func (l leakTestDescs) collect(ch chan<- prometheus.Metric, s *LeakTestState) {
	if s == nil {
		return
	}
	give := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, v := range runVerdicts {
		give(l.runs, prometheus.CounterValue, float64(s.Runs[v]), v)
		give(l.verdict, prometheus.GaugeValue, truth(s.Verdict == v), v)
	}
	for _, v := range caseVerdicts {
		give(l.cases, prometheus.GaugeValue, float64(s.Cases[v]), v)
	}
	at := 0.0
	if !s.Last.IsZero() {
		at = float64(s.Last.UnixMilli()) / 1000
	}
	give(l.last, prometheus.GaugeValue, at)
	give(l.took, prometheus.GaugeValue, s.Took.Seconds())
	give(l.closed, prometheus.GaugeValue, truth(s.Closed))
	give(l.untold, prometheus.CounterValue, float64(s.Untold))
}
