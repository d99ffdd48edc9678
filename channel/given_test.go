package channel

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// nobody is who is not told from others.
var nobody netip.Addr

func TestAnAddressIsRememberedWithTheNamesItWasGivenFor(t *testing.T) {
	g := given{most: givenMost}
	a, b := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")
	g.add(nobody, []netip.Addr{a, b}, "one.example")
	g.add(nobody, []netip.Addr{netip.MustParseAddr("::ffff:203.0.113.7")}, "_443._https.two.example")
	if got := g.names(a); !slices.Equal(got, []string{"one.example", "two.example"}) {
		t.Errorf("%q", got)
	}
	g.add(nobody, []netip.Addr{a}, "one.example")
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
		g.add(nobody, []netip.Addr{a}, fmt.Sprintf("n%d.example", i))
	}
	if got := g.names(a); len(got) != givenNames || got[givenNames-1] != "n15.example" {
		t.Errorf("%q", got)
	}
	many := netip.MustParseAddr("2001:db8::")
	for range givenMost - 1 {
		many = many.Next()
		g.add(nobody, []netip.Addr{many}, "many.example")
	}
	g.add(nobody, []netip.Addr{a}, "n15.example") // it is young again, with its names
	for range givenMost - 1 {
		many = many.Next()
		g.add(nobody, []netip.Addr{many}, "many.example")
	}
	if got := g.names(a); len(got) != givenNames {
		t.Errorf("it was forgotten though it was given out again: %q", got)
	}
	g.add(nobody, []netip.Addr{many.Next()}, "many.example")
	if g.has(a) || len(g.gifts) != givenMost || g.book.Held() != givenMost {
		t.Errorf("%d addresses are remembered, the eldest: %v", len(g.gifts), g.has(a))
	}
}

// from gives so many addresses from one on.
func from(first string, n int) (addrs []netip.Addr) {
	for a := netip.MustParseAddr(first); len(addrs) < n; a = a.Next() {
		addrs = append(addrs, a)
	}
	return addrs
}

func TestOneClientCannotPushOutWhatOthersWereGiven(t *testing.T) {
	g := given{most: 1000}
	greedy, quiet := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	mine, shared := from("203.0.113.1", 20), netip.MustParseAddr("203.0.113.99")
	g.add(quiet, mine, "quiet.example")
	g.add(quiet, []netip.Addr{shared}, "shared.example")
	for i := range 50 {
		g.add(greedy, from(fmt.Sprintf("2001:db8:%x::", i), 4000), "greedy.example") // far more than is kept
	}
	g.add(greedy, []netip.Addr{shared}, "shared.example")
	for i := range 50 {
		g.add(greedy, from(fmt.Sprintf("2001:db8:f%x::", i), 4000), "greedy.example")
	}
	for _, a := range append(mine, shared) {
		if !g.has(a) {
			t.Errorf("%v was forgotten because another asked for much", a)
		}
	}
	late := netip.MustParseAddr("192.0.2.3")
	g.add(late, from("198.51.100.1", 10), "late.example")
	if !g.has(netip.MustParseAddr("198.51.100.1")) || g.book.Held() > 1000 {
		t.Errorf("one who comes late has no share; %d are held", g.book.Held())
	}
	if n := len(g.gifts); n > 1000 {
		t.Errorf("%d addresses", n)
	}
}

func TestOneAnswerIsRememberedAsFarAsItMakesSense(t *testing.T) {
	g := given{most: givenMost}
	many := from("2001:db8::1", 2*givenAnswer)
	g.add(nobody, many, "many.example")
	if !g.has(many[givenAnswer-1]) || g.has(many[givenAnswer]) {
		t.Errorf("%d addresses are remembered", len(g.gifts))
	}
}
