package event

import (
	"slices"
	"testing"
)

type recorder struct {
	label string
	seen  *[]string
}

func (r recorder) Request(*Request) { *r.seen = append(*r.seen, r.label+" request") }
func (r recorder) Tunnel(*Tunnel)   { *r.seen = append(*r.seen, r.label+" tunnel") }
func (r recorder) Lookup(*Lookup)   { *r.seen = append(*r.seen, r.label+" lookup") }

func TestTee_GivesEachEventToEverySinkInOrder(t *testing.T) {
	var seen []string
	both, err := Tee(recorder{"a", &seen}, recorder{"b", &seen})
	if err != nil {
		t.Fatal(err)
	}
	both.Request(&Request{})
	both.Tunnel(&Tunnel{})
	both.Lookup(&Lookup{})
	want := []string{"a request", "b request", "a tunnel", "b tunnel", "a lookup", "b lookup"}
	if !slices.Equal(seen, want) {
		t.Errorf("the sinks saw %q, want %q", seen, want)
	}
}

func TestTee_RefusesANilSink(t *testing.T) {
	if _, err := Tee(Discard{}, nil); err == nil {
		t.Error("a nil sink was taken")
	}
}

func TestTee_DoesNotAllocate(t *testing.T) {
	both, err := Tee(Discard{}, Discard{})
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{}
	if n := testing.AllocsPerRun(100, func() { both.Request(r) }); n != 0 {
		t.Errorf("%v allocations for each event", n)
	}
}
