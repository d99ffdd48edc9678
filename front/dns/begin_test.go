package dns

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"watertight/dnswire"
	"watertight/fault"
)

// beginning is a zone that answers in another goroutine where it is asked to begin, and where the first label is not "no".
type beginning struct {
	zone
	exchanged, begun atomic.Int32
}

func (b *beginning) Exchange(ctx ctx, c Client, q Query) (*dnswire.Answer, error) {
	b.exchanged.Add(1)
	return b.zone.Exchange(ctx, c, q)
}

func (b *beginning) Begin(until time.Time, _ Client, q Query, then func(*dnswire.Answer, error)) bool {
	label, _, _ := strings.Cut(q.Name, ".")
	if label == "no" {
		return false
	}
	b.begun.Add(1)
	found := func() {
		if label == "fault" {
			then(nil, fault.New(fault.DNSTimeout, "no answer in time", nil))
			return
		}
		then(made(q.Question, 0, q.Name+". 300 IN A 192.0.2.3"), nil)
	}
	switch label {
	case "at-once":
		found()
	case "panic":
		panic("a name in a panic: " + q.Name)
	case "twice":
		found()
		panic("after it was told")
	default:
		if until.Before(time.Now()) {
			panic("no time")
		}
		go func() {
			<-b.hold
			found()
		}()
	}
	return true
}

func TestADatagramThatNobodyWaitsForIsAnsweredLikeAnyOther(t *testing.T) {
	b := &beginning{zone: zone{hold: make(chan struct{})}}
	d := newDoor(t, Options{Handler: b})
	conn := listenUDP(t)
	end := run(t, func(ctx ctx) error { return d.ServeUDP(ctx, conn) })
	c := dialUDP(t, conn)
	for i, test := range []struct {
		name  string
		rcode int
		begun int32
	}{
		{"at-once.example.", 0, 1},
		{"no.example.", 0, 1}, // the handler is asked as before
		{"panic.example.", miekg.RcodeServerFailure, 2},
		{"twice.example.", 0, 3},
	} {
		send(t, c, query(t, test.name, miekg.TypeA, func(m *miekg.Msg) { m.Id = uint16(i) }))
		m := receive(t, c)
		if m.Id != uint16(i) || m.Rcode != test.rcode || (test.rcode == 0) != (len(m.Answer) == 1) || b.begun.Load() != test.begun {
			t.Errorf("%s: %v after %d", test.name, m, b.begun.Load())
		}
	}
	if n := b.exchanged.Load(); n != 1 {
		t.Errorf("the handler was waited for %d times", n)
	}
	for i := range 20 {
		send(t, c, query(t, "later.example.", miekg.TypeA, func(m *miekg.Msg) { m.Id = uint16(i) }))
	}
	send(t, c, query(t, "fault.example.", miekg.TypeA, func(m *miekg.Msg) { m.Id = 100 }))
	send(t, c, query(t, "at-once.example.", miekg.TypeA, nil))
	if m := receive(t, c); m.Question[0].Name != "at-once.example." {
		t.Errorf("%v", m)
	}
	close(b.hold)
	ids := map[uint16]int{}
	for range 21 {
		m := receive(t, c)
		ids[m.Id] = m.Rcode
	}
	if len(ids) != 21 || ids[3] != 0 || ids[100] != miekg.RcodeServerFailure {
		t.Errorf("%v", ids)
	}
	end()
	if n := d.Stats().Waiting; n != 0 {
		t.Errorf("%d queries are still counted", n)
	}
}

func TestADoorThatEndsWaitsForWhatWasBegun(t *testing.T) {
	b := &beginning{zone: zone{hold: make(chan struct{})}}
	d := newDoor(t, Options{Handler: b, Drain: time.Minute})
	conn := listenUDP(t)
	end := run(t, func(ctx ctx) error { return d.ServeUDP(ctx, conn) })
	c := dialUDP(t, conn)
	send(t, c, query(t, "later.example.", miekg.TypeA, nil))
	waitFor(t, func() bool { return b.begun.Load() > 0 })
	go close(b.hold)
	end()
	if m := receive(t, c); len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
}
