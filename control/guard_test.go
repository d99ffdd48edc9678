package control

import (
	"strings"
	"testing"
	"time"

	"watertight/guard"
)

func TestRenderStatus_TellsOfTheGuard(t *testing.T) {
	at := time.Unix(1_900_000_000, 0)
	for want, g := range map[string]*Guard{
		"OFF: every program of this host can send past this one; `watertight guard on`": {State: "off"},
		"on since 2030-03-17T17:46:40Z\n":                                               {State: "on", Since: &at},
		"CHANGED: it is on, and does not hold\n               the tables are gone":      {State: "changed", Why: "the tables are gone"},
		"UNKNOWN\n               the file is torn":                                      {State: "unknown", Why: "the file is torn"},
		"put back 2 times, the last time at 2030-03-17T17:46:40Z":                       {State: "on", Restored: 2, LastRestored: &at},
		"refused: 1 to DNS, 2 to DNS over TLS, 3 to names of the local network, 4 forwarded, 5 raw, 6 others": {
			State: "on", Counters: &guard.Counters{DNS: 1, DoT: 2, LocalNames: 3, Forwarded: 4, Raw: 5, Other: 6},
		},
	} {
		var b strings.Builder
		if err := RenderStatus(&b, Status{Guard: g}); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%v; it does not say %q:\n%s", err, want, b.String())
		}
	}
	var b strings.Builder
	if err := RenderStatus(&b, Status{}); err != nil || strings.Contains(b.String(), "guard") {
		t.Errorf("without one: %s", b.String())
	}
}
