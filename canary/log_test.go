package canary

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/visit"
)

func asked(name string) visit.Query {
	return visit.Query{From: netip.MustParseAddrPort("192.0.2.1:53"), Over: "udp", Name: name, Type: "A"}
}

// numbered gives label i: as good as a random one, and quicker.
func numbered(i int) string {
	b := []byte(strings.Repeat("a", visit.LabelLength))
	for at := len(b) - 1; i > 0; at-- {
		b[at] = "abcdefghijklmnopqrstuvwxyz234567"[i%32]
		i /= 32
	}
	return string(b)
}

func TestLogGivesBackWhatItSaw(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	l := NewLog(LogOptions{Now: func() time.Time { return at }, Passed: Stopwatch()})
	label := visit.NewLabel()
	if _, ok := l.Seen(label); ok {
		t.Error("nothing came")
	}
	l.Query(label, asked("one"))
	l.Query(strings.ToUpper(label), asked("two"))
	l.Request(label, visit.Request{Host: "here", Secure: true})
	l.Query("www", asked("three"))
	got, ok := l.Seen(label)
	if !ok || got.Label != label || len(got.Queries) != 2 || got.Queries[1].Name != "two" || !got.Queries[0].At.Equal(at) ||
		len(got.Requests) != 1 || !got.Requests[0].Secure || !got.Requests[0].At.Equal(at) || got.Cut || got.Minimised {
		t.Errorf("%+v", got)
	}
	if _, ok := l.Seen("www"); ok {
		t.Error("what is no label was kept")
	}
	got.Queries[0].Name = "mine"
	if again, _ := l.Seen(label); again.Queries[0].Name != "one" {
		t.Error("the caller's copy is the log's")
	}
}

func TestLogForgetsAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog(LogOptions{Now: time.Now, Passed: Stopwatch()})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = l.Run(ctx) })
		a, b := visit.NewLabel(), visit.NewLabel()
		l.Query(a, asked("first"))
		l.Request(a, visit.Request{Host: "first"})
		l.Query(b, asked("first"))
		time.Sleep(Keep - time.Minute)
		l.Query(a, asked("second"))
		time.Sleep(time.Minute + time.Second)
		if got, ok := l.Seen(a); !ok || len(got.Queries) != 1 || got.Queries[0].Name != "second" || len(got.Requests) != 0 {
			t.Errorf("%+v", got)
		}
		if got, ok := l.Seen(b); ok {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Minute)
		l.mu.Lock()
		if len(l.visits) != 1 || len(l.visits[key(a)].Value.(*seen).queries) != 1 {
			t.Error("what nobody sees any more is still in memory")
		}
		l.mu.Unlock()
		time.Sleep(Keep)
		l.mu.Lock()
		if len(l.visits) != 0 || l.asked.Len()+l.came.Len() != 0 || l.octets != struct{ all, came int }{} {
			t.Errorf("%d visits, %d octets left", len(l.visits), l.octets.all)
		}
		l.mu.Unlock()
		cancel()
		running.Wait()
	})
}

func TestLogForgetsAfterAnHourWhereverTheClockIsSet(t *testing.T) {
	for name, c := range map[string]struct {
		set, passed time.Duration // of the clock, at once; and what passes then
		held        bool
	}{
		"set back, within the hour":   {-24 * time.Hour, Keep - time.Second, true},
		"set back, after it":          {-24 * time.Hour, Keep + time.Second, false},
		"asleep for longer":           {Keep + time.Minute, 0, false},
		"asleep, and awake, for less": {Keep / 2, Keep/2 - time.Second, true},
		"asleep, and awake, for more": {Keep / 2, Keep/2 + time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			now, passed := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), time.Duration(0)
			l := NewLog(LogOptions{Now: func() time.Time { return now }, Passed: func() time.Duration { return passed }})
			label, other, came := visit.NewLabel(), visit.NewLabel(), now
			l.Query(label, asked("first"))
			l.Request(label, visit.Request{Host: "first"})
			now = now.Add(c.set)
			l.Query(other, asked("another"))
			now, passed = now.Add(c.passed), c.passed
			got, ok := l.Seen(label)
			if ok != c.held || ok && (!got.Queries[0].At.Equal(came) || !got.Requests[0].At.Equal(came)) {
				t.Errorf("held %v: %+v", ok, got)
			}
			l.sweep()
			if _, left := l.visits[key(label)]; left != c.held {
				t.Errorf("in memory: %v", left)
			}
		})
	}
}

func key(label string) [visit.LabelLength]byte {
	k, _ := keyOf(label)
	return k
}

func TestOneVisitIsBounded(t *testing.T) {
	l := NewLog(LogOptions{Now: time.Now, Passed: Stopwatch(), PerVisit: 3})
	label := visit.NewLabel()
	for i := range 5 {
		l.Query(label, asked(fmt.Sprint(i)))
	}
	got, _ := l.Seen(label)
	if len(got.Queries) != 3 || got.Queries[2].Name != "2" || !got.Cut {
		t.Errorf("%+v", got)
	}
	for range 4 {
		l.Request(visit.NewLabel(), visit.Request{})
	}
	other := visit.NewLabel()
	for range 4 {
		l.Request(other, visit.Request{})
	}
	if got, _ := l.Seen(other); len(got.Requests) != 3 || !got.Cut {
		t.Errorf("%+v", got)
	}
}

func TestTheVisitThatWasQuietForLongestMakesRoom(t *testing.T) {
	l := NewLog(LogOptions{Now: time.Now, Passed: Stopwatch(), Visits: 3})
	for i := range 3 {
		l.Query(numbered(i), asked("a"))
	}
	l.Query(numbered(0), asked("a"))
	l.Query(numbered(3), asked("a"))
	for i, want := range []bool{true, false, true, true} {
		if _, ok := l.Seen(numbered(i)); ok != want {
			t.Errorf("%d: %t", i, ok)
		}
	}
}

func TestAFloodOfQuestionsForgetsNoVisitWhoseVisitorCame(t *testing.T) {
	l := NewLog(LogOptions{Now: time.Now, Passed: Stopwatch(), Visits: 10})
	for i := range 5 {
		l.Query(numbered(i), asked("a"))
		l.Request(numbered(i), visit.Request{Host: "a"})
	}
	for i := range 1000 {
		l.Query(numbered(100+i), asked("a"))
	}
	for i := range 5 {
		if got, ok := l.Seen(numbered(i)); !ok || len(got.Queries) != 1 || len(got.Requests) != 1 {
			t.Errorf("%d: %+v", i, got)
		}
	}
	for i := range 1000 { // nor do those who come push out all that was asked
		l.Request(numbered(5000+i), visit.Request{Host: "a"})
	}
	if _, ok := l.Seen(numbered(1099)); !ok || l.came.Len() > 6 || len(l.visits) > 10 {
		t.Errorf("%t, and %d of %d came", ok, l.came.Len(), len(l.visits))
	}
}

func TestWhatIsCountedIsWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog(LogOptions{Now: time.Now, Passed: Stopwatch(), Visits: 40, PerVisit: 5, Octets: leastOctets})
		for i := range 3000 {
			label := numbered(i * i % 61)
			if i%3 == 0 {
				l.Request(label, visit.Request{Host: strings.Repeat("h", i%200)})
			} else {
				l.Query(label, asked(strings.Repeat("n", i%250)))
			}
			if i%100 == 0 {
				time.Sleep(Keep / 3)
				l.sweep()
			}
			all, came := 0, 0
			for _, e := range l.visits {
				s := e.Value.(*seen)
				all += s.size() + overhead
				if s.came {
					came += s.size() + overhead
				}
			}
			if all != l.octets.all || came != l.octets.came || all > l.o.Octets {
				t.Fatalf("%d and %d octets, counted as %+v", all, came, l.octets)
			}
		}
	})
}

// heap gives what is in use, in octets.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestAMillionNamesDoNotGrowMemoryPastItsBound(t *testing.T) {
	const bound = 8 << 20
	long := strings.Repeat("x", 200)
	for name, flood := range map[string]func(l *Log, i int){
		"a label each":      func(l *Log, i int) { l.Query(numbered(i), asked("a")) },
		"long names":        func(l *Log, i int) { l.Query(numbered(i), asked(long[:i%200])) },
		"some for each":     func(l *Log, i int) { l.Query(numbered(i/10), asked("abc")) },
		"many for each":     func(l *Log, i int) { l.Query(numbered(i/150), asked(long)) },
		"few with requests": func(l *Log, i int) { l.Request(numbered(i%5000), visit.Request{Host: long}) },
		"networks of their own": func(l *Log, i int) {
			q := asked("a")
			q.Network = &visit.Network{Name: strings.Clone(long[:50]), Country: "XX"}
			l.Query(numbered(i), q)
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			l := NewLog(LogOptions{Now: time.Now, Passed: Stopwatch(), Octets: bound, Visits: 1 << 30})
			names := 60_000
			if name == "a label each" {
				names = 1_000_000
			}
			for i := range names {
				flood(l, i)
			}
			grown := heap() - before
			t.Logf("%d visits, counted %d KiB, measured %d KiB", len(l.visits), l.octets.all>>10, grown>>10)
			if l.octets.all > bound || grown > bound*21/20 {
				t.Errorf("counted %d, measured %d octets of %d", l.octets.all, grown, bound)
			}
			if grown < bound/4 {
				t.Errorf("only %d octets of %d are used", grown, bound)
			}
			if want := len(l.visits); want != l.asked.Len()+l.came.Len() || want == 0 {
				t.Errorf("%d visits, %d in the list", want, l.asked.Len()+l.came.Len())
			}
			runtime.KeepAlive(l)
		})
	}
}

func TestWhatIsKeptDoesNotHoldLargerBuffers(t *testing.T) {
	l := NewLog(LogOptions{Now: time.Now, Passed: Stopwatch()})
	before := heap()
	for i := range 2000 {
		buffer := strings.Repeat(fmt.Sprint(i%10), 64<<10)
		l.Query(numbered(i), asked(buffer[:20]))
		l.Request(numbered(i), visit.Request{Host: buffer[:20]})
	}
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("%d octets", grown)
	}
	runtime.KeepAlive(l)
}

func TestMinimisedQuestionsShow(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  bool
	}{
		{[]string{"deep.er.L.z", "L.z"}, false},
		{[]string{"L.z", "er.L.z", "deep.er.L.z"}, true},
		{[]string{"deep.ER.L-v6.z", "eR.L-v6.z"}, true},
		{[]string{"er.L.z", "other.L.z", "deeper.L.z"}, false},
		{[]string{"_.er.L.z"}, true},
		{[]string{"_x.er.L.z"}, false},
		{[]string{"c.L.z", "a.b.c.L.z"}, true},
		{nil, false},
	} {
		l := NewLog(LogOptions{Now: time.Now, Passed: Stopwatch()})
		label := visit.NewLabel()
		l.Request(label, visit.Request{})
		for _, n := range c.names {
			l.Query(label, asked(strings.Replace(n, "L", label, 1)))
		}
		if got, _ := l.Seen(label); got.Minimised != c.want {
			t.Errorf("%v: %t", c.names, got.Minimised)
		}
	}
}

func TestLogServesManyAtOnce(t *testing.T) {
	l := NewLog(LogOptions{Now: time.Now, Passed: Stopwatch(), Visits: 10})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 200 {
				l.Query(numbered((g+i)%20), asked("a"))
				l.Seen(numbered(i % 20))
				l.sweep()
			}
		})
	}
	all.Wait()
}
