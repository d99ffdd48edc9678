package channel

import (
	"net/netip"
	"testing"

	"watertight/client"
	"watertight/hop"
)

// TestATestOfTheProgramSticksToNoMemberOfAUser: neither follows the other.
func TestATestOfTheProgramSticksToNoMemberOfAUser(t *testing.T) {
	user := client.Identity{User: "alice", Session: "k3v9"}
	trial := user
	trial.Trial = "3f2a"
	at := netip.MustParseAddr("192.0.2.7")
	for by, shared := range map[hop.StickyBy]bool{hop.ByUser: false, hop.BySession: false, hop.ByClient: true, hop.ByNothing: true} {
		p := &pool{by: by}
		own, _, err := p.key(who{user, at})
		tried, _, err2 := p.key(who{trial, at})
		if err != nil || err2 != nil || (own == tried) != shared || by == hop.ByNothing && tried != "" {
			t.Errorf("by %q: %q and %q, %v, %v", by, own, tried, err, err2)
		}
	}
}
