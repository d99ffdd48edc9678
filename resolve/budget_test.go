package resolve_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"watertight/lab/dnstest"
	"watertight/resolve"
)

func TestSeveralCachesStayWithinTheirBudget(t *testing.T) {
	synctest.Test(t, severalCaches)
}

func severalCaches(t *testing.T) {
	g := newRig(t)
	var zone dnstest.Zone
	for i := range 60 {
		zone = append(zone, fmt.Sprintf("host-%d.example.com. 300 A 192.0.2.1", i))
	}
	g.Serve(dot, first, zone.Handler())
	up := g.Upstream(dot, first)
	budget := resolve.NewBudget(8 << 10)
	var all []*resolve.Resolver
	for range 3 {
		r := g.resolver(t, resolve.Options{CacheOctets: 6 << 10, Budget: budget}, up)
		all = append(all, r)
		for i := range 60 {
			wantAddrs(t, r, fmt.Sprintf("host-%d.example.com", i), "192.0.2.1")
			if used, most := budget.Used(); used > most {
				t.Fatalf("%d octets of %d", used, most)
			}
		}
	}
	sum := 0
	for _, r := range all {
		sum += r.Stats().Octets
	}
	if used, _ := budget.Used(); used != sum || used == 0 {
		t.Errorf("%d octets are booked, and the caches hold %d", used, sum)
	}
	for _, r := range all {
		r.Close()
	}
	if used, _ := budget.Used(); used != 0 {
		t.Errorf("%d octets are booked when nothing is left", used)
	}
}
