package resolve

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"watertight/dnswire"
)

// fill puts answers into a cache until it evicts one.
func fill(tb testing.TB, c *cache, unpack bool) {
	tb.Helper()
	now := time.Now()
	for i := 0; c.evicted == 0; i++ {
		q := dnswire.Question{Name: fmt.Sprintf("host-%d.some.zone.example", i), Type: dnswire.A}
		p := dnswire.Reply{Answer: []dnswire.Record{dnswire.AddrRecord(q.Name, 300, netip.MustParseAddr("192.0.2.1"))}}
		b, err := (&dnswire.Request{Question: q, EDNS: true, Padding: 0}).Pack(p)
		if err != nil {
			tb.Fatal(err)
		}
		a, err := dnswire.ParseAnswer(b, q, 0)
		if err != nil {
			tb.Fatal(err)
		}
		c.put(&entry{q: q, answer: a, addrs: a.Addrs(), stored: now, expires: now.Add(a.TTL)}, c.epoch())
		if e, _ := c.get(q, now); unpack {
			a, err := c.unpacked(e)
			if err != nil {
				tb.Fatal(err)
			}
			if _, err := asked(tb, q).AppendReply(nil, a, dnswire.Said{}); err != nil { // as the DNS door does
				tb.Fatal(err)
			}
		}
	}
}

// asked is a client's query.
func asked(tb testing.TB, q dnswire.Question) *dnswire.Asked {
	tb.Helper()
	b, err := dnswire.Query(q, 7, 0)
	if err != nil {
		tb.Fatal(err)
	}
	a := new(dnswire.Asked)
	if _, err := a.Read(b); err != nil {
		tb.Fatal(err)
	}
	return a
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// The configuration promises MiB of memory, not of messages.
func TestTheCacheTakesAsMuchMemoryAsItWasGiven(t *testing.T) {
	const given = 8 << 20
	for _, unpack := range []bool{false, true} {
		before := heap()
		c := newCache(given, 0, false)
		fill(t, c, unpack)
		taken := heap() - before
		t.Logf("unpacked %v: %d answers in %d octets each, of %d counted", unpack, len(c.entries), taken/len(c.entries), c.octets/len(c.entries))
		if c.octets > given || taken > given*11/10 || taken < given*7/10 {
			t.Errorf("unpacked %v: %d octets of memory for %d counted", unpack, taken, c.octets)
		}
		runtime.KeepAlive(c)
	}
}

func TestAnEntryThatIsGoneCostsNothing_whoeverStillUsesIt(t *testing.T) {
	c := newCache(1<<20, 0, false)
	fill(t, c, false)
	last := c.root.prev
	c.flush()
	if a, err := c.unpacked(last); err != nil || len(a.Records) != 1 {
		t.Error(a, err)
	}
	if c.octets != 0 {
		t.Errorf("%d octets in an empty cache", c.octets)
	}
}
