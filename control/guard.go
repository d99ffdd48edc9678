package control

import (
	"time"

	"watertight/guard"
)

// Guard is the guard of the host's firewall, as the last look found it, at most ten seconds ago.
type Guard struct {
	State string `json:"state"`         // off, on, changed (it is on and does not hold), or unknown
	Why   string `json:"why,omitempty"` // what is not as it should be
	// Since is when it was turned on; nothing where it is off.
	Since        *time.Time      `json:"since,omitempty"`
	Restored     uint64          `json:"restored"` // how often this program has put it back
	LastRestored *time.Time      `json:"last_restored,omitempty"`
	Counters     *guard.Counters `json:"counters,omitempty"` // packets that it refused; nothing where it is off
}

// guard shows the guard of the host.
func (v *view) guard(g *Guard) {
	if g == nil {
		return
	}
	switch {
	case g.State == "off":
		v.row("guard", "OFF: every program of this host can send past this one; `watertight guard on` turns it on")
	case g.State == "on" && g.Since != nil:
		v.row("guard", "on since %s", g.Since.UTC().Format(time.RFC3339))
	case g.State == "on":
		v.row("guard", "on")
	case g.State == "changed":
		v.row("guard", "CHANGED: it is on, and does not hold")
	default:
		v.row("guard", "UNKNOWN")
	}
	if g.Why != "" {
		v.row("guard", "%s", g.Why)
	}
	if g.Restored > 0 {
		last := ""
		if g.LastRestored != nil {
			last = ", the last time at " + g.LastRestored.UTC().Format(time.RFC3339)
		}
		v.row("guard", "put back %s%s", count(g.Restored, "time"), last)
	}
	if c := g.Counters; c != nil {
		v.row("guard", "refused: %d to DNS, %d to DNS over TLS, %d to names of the local network, %d forwarded, %d raw, %d others",
			c.DNS, c.DoT, c.LocalNames, c.Forwarded, c.Raw, c.Other)
	}
}
