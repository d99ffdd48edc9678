package ours

import (
	"fmt"
	"strings"
	"time"

	"watertight/doctor"
)

// skew is from when on a clock is called off.
const skew = time.Hour

// clocks are files that are written with the right time.
var clocks = []string{"/var/lib/systemd/timesync/clock", "/var/lib/private/systemd/timesync/clock", "/usr/lib/clock-epoch", "/var/lib/ntp/ntp.drift", "/var/lib/chrony/drift", "/var/lib/chrony/chrony.drift"}

var timeSkew = doctor.Rule{
	ID: "TIME-SKEW", Severity: doctor.Medium,
	Title:   "the clock is off, so that certificates and signatures do not hold",
	Clients: []string{"DoH, DoT, DoQ, DNSSEC and DNSCrypt: Watertight refuses, and other programs fall back to DNS in the clear"},
	Explain: `A certificate and a signature of DNSSEC hold for a time. With a clock that is off no encrypted resolver can be trusted, and
what does fall back does so in the clear: browsers with their DNS "automatic", and programs that set the time by NTP, whose servers are
looked up first. Watertight does not fall back. A clock is called wrong here if it is before what must have been already: this
program's own source, or the file in which the host's time service keeps the last good time.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var evidence []string
		if !h.Build.Time.IsZero() && h.Build.Time.Sub(h.Now) > skew {
			evidence = append(evidence, fmt.Sprintf("clock: it says %s, and this program is of %s", h.Now.UTC().Format(time.RFC3339), h.Build.Time.UTC().Format(time.RFC3339)))
		}
		for _, name := range clocks {
			if info, ok := h.Files.Stat(name); ok && info.ModTime().Sub(h.Now) > skew {
				evidence = append(evidence, fmt.Sprintf("%s: of %s, and the clock says %s", name, info.ModTime().UTC().Format(time.RFC3339), h.Now.UTC().Format(time.RFC3339)))
			}
		}
		if h.Status != nil {
			for _, c := range h.Status.Channels {
				for _, u := range c.Resolver.Upstreams {
					if strings.Contains(u.LastError, "expired") || strings.Contains(u.LastError, "not yet valid") {
						evidence = append(evidence, "running proxy: channel "+c.Name+", upstream "+u.Name+": "+u.LastError)
					}
				}
			}
		}
		return doctor.Only(doctor.Finding{
			Fact: "the clock of this host is off", Evidence: evidence,
			Fix: "timedatectl set-time 'YYYY-MM-DD HH:MM:SS'   # by hand, then: timedatectl set-ntp true",
		})
	},
}
