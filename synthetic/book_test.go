package synthetic

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"watertight/fault"
	"watertight/name"
)

func TestANameKeepsItsAddressesAndTheyLeadBackToIt(t *testing.T) {
	b := New()
	a4, a6, err := b.Addrs(name.MustHost("a.example"))
	c4, c6, err2 := b.Addrs(name.MustHost("c.example"))
	again4, again6, err3 := b.Addrs(name.MustHost("A.Example."))
	if err != nil || err2 != nil || err3 != nil || a4 != again4 || a6 != again6 || a4 == c4 || a6 == c6 {
		t.Fatalf("%v %v, %v %v, %v %v", a4, a6, c4, c6, again4, again6)
	}
	for addr, want := range map[netip.Addr]string{
		a4: "a.example", a6: "a.example", c4: "c.example", c6: "c.example", netip.AddrFrom16(a4.As16()): "a.example", a6.WithZone("lo"): "a.example",
	} {
		if h, mine := b.Name(addr); !mine || h.String() != want {
			t.Errorf("%v stands for %v, %v", addr, h, mine)
		}
	}
	if !b.Networks()[0].Contains(a4) || !b.Networks()[1].Contains(a6) || b.Len() != 2 {
		t.Errorf("%v, %v of %v; %d names", a4, a6, b.Networks(), b.Len())
	}
}

func TestAnAddressThatStandsForNothingIsKnownAsSuch(t *testing.T) {
	b := New()
	a4, a6, err := b.Addrs(name.MustHost("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := a6.As16()
	elsewhere[8] = 1
	for _, addr := range []netip.Addr{
		a4.Next(), a6.Next(), a4.Prev(), a6.Prev(), b.Networks()[1].Addr(), netip.AddrFrom16(elsewhere),
		netip.MustParseAddr("198.18.0.0"), netip.MustParseAddr("198.18.1.0"), netip.MustParseAddr("198.18.1.255"), netip.MustParseAddr("198.19.255.255"),
	} {
		if h, mine := b.Name(addr); !mine || h.IsValid() {
			t.Errorf("%v stands for %v, %v", addr, h, mine)
		}
	}
	for _, addr := range []string{"198.17.255.255", "198.20.0.0", "127.0.0.1", "::1", "fe80::1", "2001:db8::1", "::"} {
		if _, mine := b.Name(netip.MustParseAddr(addr)); mine {
			t.Errorf("%s is taken for one of the book's", addr)
		}
	}
	if _, mine := b.Name(netip.Addr{}); mine {
		t.Error("no address is taken for one")
	}
}

func TestAFullBookGivesNoAddressTwice(t *testing.T) {
	b := New()
	seen := map[netip.Addr]bool{}
	for i := range MaxNames {
		v4, v6, err := b.Addrs(name.MustHost(fmt.Sprintf("n%d.example", i)))
		last := v4.As4()[3]
		if err != nil || seen[v4] || seen[v6] || last == 0 || last == 255 || !b.Networks()[0].Contains(v4) {
			t.Fatalf("name %d: %v, %v: %v", i, v4, v6, err)
		}
		seen[v4], seen[v6] = true, true
	}
	first, _, err := b.Addrs(name.MustHost("n0.example"))
	if h, _ := b.Name(first); err != nil || h.String() != "n0.example" {
		t.Errorf("the first name has %v, which stands for %v: %v", first, h, err)
	}
	if v4, _, err := b.Addrs(name.MustHost("more.example")); err == nil || fault.Of(err).Code != fault.Limit {
		t.Errorf("one more name got %v: %v", v4, err)
	}
}

func TestTwoBooksHaveIPv6NetworksOfTheirOwn(t *testing.T) {
	a, b := New().Networks()[1], New().Networks()[1]
	if a == b || a.Bits() != 64 || a.Addr().As16()[0] != 0xfd {
		t.Errorf("%v and %v", a, b)
	}
}

func TestOneNameAskedForByManyAtOnceGetsOneAddress(t *testing.T) {
	b := New()
	var wg sync.WaitGroup
	got := make([]netip.Addr, 8)
	for i := range got {
		wg.Go(func() {
			for j := range 100 {
				got[i], _, _ = b.Addrs(name.MustHost(fmt.Sprintf("n%d.example", j)))
			}
		})
	}
	wg.Wait()
	for _, a := range got {
		if a != got[0] {
			t.Errorf("%v", got)
		}
	}
	if b.Len() != 100 {
		t.Errorf("%d names", b.Len())
	}
}

func TestAnAddressHasNoAddressOfItsOwn(t *testing.T) {
	for _, h := range []name.Host{name.MustHost("192.0.2.1"), {}} {
		if _, _, err := New().Addrs(h); err == nil {
			t.Errorf("%v got one", h)
		}
	}
}
