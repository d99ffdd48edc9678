package channel

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func TestAnAddressIsRememberedWithTheNamesItWasGivenFor(t *testing.T) {
	g := given{most: givenMost}
	a, b := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")
	g.add([]netip.Addr{a, b}, "one.example")
	g.add([]netip.Addr{netip.MustParseAddr("::ffff:203.0.113.7")}, "_443._https.two.example")
	if got := g.names(a); !slices.Equal(got, []string{"one.example", "two.example"}) {
		t.Errorf("%q", got)
	}
	g.add([]netip.Addr{a}, "one.example")
	if got := g.names(a); !slices.Equal(got, []string{"two.example", "one.example"}) {
		t.Errorf("the latest is not last: %q", got)
	}
	if got := g.names(b); !slices.Equal(got, []string{"one.example"}) || !g.has(b) || g.has(netip.MustParseAddr("192.0.2.1")) {
		t.Errorf("%q", got)
	}
}

func TestOneAddressKeepsItsLatestNamesAndTheRestIsForgotten(t *testing.T) {
	g := given{most: givenMost}
	a := netip.MustParseAddr("203.0.113.7")
	for i := range 2 * givenNames {
		g.add([]netip.Addr{a}, fmt.Sprintf("n%d.example", i))
	}
	if got := g.names(a); len(got) != givenNames || got[givenNames-1] != "n15.example" {
		t.Errorf("%q", got)
	}
	many := netip.MustParseAddr("2001:db8::")
	for range givenMost + 1 {
		many = many.Next()
		g.add([]netip.Addr{many}, "many.example")
	}
	if len(g.names(a)) != givenNames {
		t.Error("it was forgotten with the first generation")
	}
	g.add([]netip.Addr{a}, "n15.example") // it is young again, with its names
	for range givenMost {
		many = many.Next()
		g.add([]netip.Addr{many}, "many.example")
	}
	if got := g.names(a); len(got) != givenNames {
		t.Errorf("it was forgotten though it was given out again: %q", got)
	}
	if len(g.younger) > givenMost || len(g.elder) > givenMost {
		t.Errorf("%d and %d addresses", len(g.younger), len(g.elder))
	}
}
