package dns

import (
	"net/netip"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

func TestAClientHasItsRateAndNobodyElses(t *testing.T) {
	l := newLimiter(10, 10)
	now := time.Unix(1000, 0)
	spend := func(addr string, verified bool) (n int) {
		for l.allow(netip.MustParseAddr(addr), verified, now) && n < 100 {
			n++
		}
		return n
	}
	if n := spend("198.51.100.7", false); n != 10 {
		t.Errorf("a burst of %d", n)
	}
	now = now.Add(500 * time.Millisecond)
	for _, c := range []struct {
		addr     string
		verified bool
		want     int
	}{
		{"198.51.100.7", false, 5},
		{"198.51.100.7", true, 10}, // whoever forges the address spends another budget
		{"198.51.100.8", false, 10},
		{"2001:db8::1", false, 10},
		{"2001:db8::2", false, 0}, // the same network
		{"2001:db8:0:1::1", false, 10},
		{"127.0.0.1", false, 100},
		{"::1", false, 100},
	} {
		if n := spend(c.addr, c.verified); n != c.want {
			t.Errorf("%s, verified %v: %d queries, want %d", c.addr, c.verified, n, c.want)
		}
	}
}

func TestMoreClientsThanTheTableHoldsPushOutTheOldest(t *testing.T) {
	l := newLimiter(1, 1)
	now := time.Unix(1000, 0)
	for i := range uint32(4 * rateShards * rateSets * rateWays) {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if !l.allow(addr, false, now.Add(time.Duration(i))) {
			t.Fatalf("%v was refused at its first query", addr)
		}
	}
}

func TestAClientOverItsRateGetsNothingThatIsBiggerThanWhatItSent(t *testing.T) {
	d := newDoor(t, Options{Rate: 1})
	plain := query(t, "www.example.", miekg.TypeA, edns(1232))
	_ = ask(t, d, elsewhere(UDP), plain)
	silent, told := 0, 0
	for range 10 {
		switch m := ask(t, d, elsewhere(UDP), plain); {
		case m == nil:
			silent++
		case m.Truncated && len(m.Answer) == 0:
			told++
		default:
			t.Errorf("%v", m)
		}
	}
	if silent != 5 || told != 5 || d.Stats().RateLimited != 10 {
		t.Errorf("%d times silence, %d times TC: %+v", silent, told, d.Stats())
	}
	for range 2 {
		m := ask(t, d, elsewhere(UDP), query(t, "www.example.", miekg.TypeA, edns(1232, cookie("0102030405060708"))))
		if m != nil && m.Rcode != miekg.RcodeBadCookie {
			t.Errorf("%v", m)
		}
	}
	_ = ask(t, d, elsewhere(TCP), plain)
	if m := ask(t, d, elsewhere(TCP), plain); m == nil || m.Rcode != miekg.RcodeServerFailure {
		t.Errorf("by TCP: %v", m)
	}
}

func TestAnAddressThatHasShownNothingGetsThreeTimesWhatItSent(t *testing.T) {
	d := newDoor(t, Options{})
	msg := query(t, "large.example.", miekg.TypeA, edns(1232, cookie("0102030405060708")))
	var a asking
	_, _ = d.begin(nil, msg, elsewhere(UDP), &a)
	out := d.finish(t.Context(), nil, &a)
	m := read(t, out)
	if len(out) > 3*len(msg) || !m.Truncated {
		t.Errorf("%d octets for %d: %v", len(out), len(msg), m)
	}
	good, _ := option[*miekg.EDNS0_COOKIE](m)
	_, _ = d.begin(nil, query(t, "large.example.", miekg.TypeA, edns(1232, good)), elsewhere(UDP), &a)
	if a.limit != 1232 {
		t.Errorf("with a cookie of ours it gets %d octets", a.limit)
	}
}
