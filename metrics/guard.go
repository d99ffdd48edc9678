package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"watertight/guard"
)

// GuardState is the guard of the host's firewall, as the program's last look found it.
type GuardState struct {
	Armed    bool           // it was turned on
	Held     bool           // and the kernel has all of it
	Restored uint64         // how often this program has put it back
	Refused  guard.Counters // packets, as far back as is known
}

type guardDescs struct{ armed, held, restored, refused *prometheus.Desc }

func newGuardDescs() guardDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("watertight_guard_"+name, help, labels, nil)
	}
	return guardDescs{
		armed:    desc("armed", "Whether the guard of this host is turned on (1) or not (0)."),
		held:     desc("held", "Whether the guard of this host is on and its rules are those that were loaded (1) or not (0)."),
		restored: desc("restored_total", "How often this program has put the rules of the guard back that somebody else had changed, or that lacked a device."),
		refused:  desc("refused_packets_total", "Packets that the guard of this host has refused, by kind.", "kind"),
	}
}

func (g guardDescs) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.armed, g.held, g.restored, g.refused} {
		ch <- d
	}
}

func (g guardDescs) collect(ch chan<- prometheus.Metric, s *GuardState) {
	if s == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(g.armed, prometheus.GaugeValue, truth(s.Armed))
	ch <- prometheus.MustNewConstMetric(g.held, prometheus.GaugeValue, truth(s.Held))
	ch <- prometheus.MustNewConstMetric(g.restored, prometheus.CounterValue, float64(s.Restored))
	for kind, n := range map[string]uint64{
		"dns": s.Refused.DNS, "dot": s.Refused.DoT, "local_names": s.Refused.LocalNames,
		"forwarded": s.Refused.Forwarded, "raw": s.Refused.Raw, "other": s.Refused.Other,
	} {
		ch <- prometheus.MustNewConstMetric(g.refused, prometheus.CounterValue, float64(n), kind)
	}
}
