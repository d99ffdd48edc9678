package regular

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"watertight/fault"
)

// memory is a store of one text.
type memory struct {
	name    string
	text    []byte
	reads   error
	writes  error
	written int
}

func (m *memory) Read(string) ([]byte, error) {
	if m.text == nil && m.reads == nil {
		return nil, fs.ErrNotExist
	}
	return m.text, m.reads
}

func (m *memory) Write(_ string, text []byte) error {
	m.written++
	if m.writes == nil {
		m.text = text
	}
	return m.writes
}

func (m *memory) Path(name string) string { return "/" + m.name + "/" + name }

func valve(t *testing.T, closes bool, store Store) (*Valve, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	v, err := NewValve(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Set(closes, store); err != nil {
		t.Fatal(err)
	}
	return v, &log
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func leak(ids ...string) Outcome {
	o := Outcome{At: noon, Verdict: Leak}
	for _, id := range ids {
		o.Found = append(o.Found, Found{id, "what holds of " + id})
	}
	return o
}

func TestALeakClosesUntilATestIsClean_OverARestart(t *testing.T) {
	store := &memory{}
	v, log := valve(t, true, store)
	v.Concluded(Outcome{Verdict: Sealed})
	v.Concluded(Outcome{Verdict: Inconclusive})
	if v.Closed() != nil || store.written > 0 {
		t.Fatalf("%v after no leak", v.Closed())
	}
	v.Concluded(leak("NAME-BY-DOOR", "RESOLVER-CUT"))
	c := v.Closed()
	if c == nil || !c.Since.Equal(noon) || len(c.Found) != 2 || !strings.Contains(log.String(), "NAME-BY-DOOR") {
		t.Fatalf("%+v\n%s", c, log)
	}
	f := c.Fault()
	if f.Code != fault.NotReady || !strings.Contains(f.Reason(), "closed: the leak test of 2026-06-01 12:00 UTC found NAME-BY-DOOR, RESOLVER-CUT (NOT_READY)") || !strings.Contains(f.NextStep(), "watertight test accept") {
		t.Errorf("%q %q", f.Reason(), f.NextStep())
	}
	again, _ := valve(t, true, store)
	again.Concluded(Outcome{Verdict: Inconclusive})
	again.Concluded(Outcome{At: noon.Add(time.Hour), Verdict: Leak, Found: leak("OTHER").Found})
	if c := again.Closed(); c == nil || !c.Since.Equal(noon) || c.Found[0].ID != "OTHER" {
		t.Fatalf("after a restart: %+v", c)
	}
	again.Concluded(Outcome{Verdict: Sealed})
	if again.Closed() != nil {
		t.Error("a clean test does not open")
	}
	if last, _ := valve(t, true, store); last.Closed() != nil {
		t.Error("it is closed again after a restart")
	}
}

func TestAPersonsWordOpens_AndIsForWhatWasFound(t *testing.T) {
	store := &memory{}
	v, _ := valve(t, true, store)
	if v.Accept() != nil {
		t.Error("there was nothing to accept")
	}
	v.Concluded(leak("A", "B"))
	if was := v.Accept(); was == nil || len(was.Found) != 2 || v.Closed() != nil {
		t.Fatalf("%+v, %+v", was, v.Closed())
	}
	v, _ = valve(t, true, store)
	v.Concluded(leak("B"))
	if v.Closed() != nil {
		t.Error("what was accepted closes")
	}
	v.Concluded(leak("B", "C"))
	if v.Closed() == nil {
		t.Error("another leak does not close")
	}
	v.Accept()
	v.Concluded(Outcome{Verdict: Sealed})
	v.Concluded(leak("B"))
	if v.Closed() == nil {
		t.Error("after a clean test the word still holds")
	}
}

func TestALeakWithoutACaseCloses(t *testing.T) {
	v, _ := valve(t, true, &memory{})
	v.Concluded(Outcome{At: noon, Verdict: Leak})
	if v.Closed() == nil {
		t.Error("it is open")
	}
}

func TestWhereALeakIsReportedNothingCloses(t *testing.T) {
	v, _ := valve(t, false, nil)
	v.Concluded(leak("A"))
	if v.Closed() != nil {
		t.Error("it is closed")
	}
	store := &memory{}
	v, _ = valve(t, true, store)
	v.Concluded(leak("A"))
	if err := v.Set(false, store); err != nil || v.Closed() != nil {
		t.Errorf("%v %+v", err, v.Closed())
	}
	if again, _ := valve(t, true, store); again.Closed() != nil {
		t.Error("what was opened by the configuration closes later")
	}
	v, _ = valve(t, true, store)
	v.Concluded(leak("A"))
	valve(t, false, store) // a start with another configuration
	if again, _ := valve(t, true, store); again.Closed() != nil {
		t.Error("what was opened by a configuration at the start closes later")
	}
}

func TestWhatIsKeptAndCannotBeReadCloses(t *testing.T) {
	for name, store := range map[string]*memory{"unreadable": {reads: errors.New("damaged")}, "no JSON": {text: []byte("{")}} {
		v, _ := valve(t, true, store)
		if c := v.Closed(); c == nil || !strings.Contains(c.String(), "cannot be read") {
			t.Errorf("%s: %+v", name, c)
		}
		store.reads = nil
		if v.Accept(); v.Closed() != nil {
			t.Errorf("%s: a person's word does not open", name)
		}
	}
	if v, err := NewValve(slog.New(slog.DiscardHandler)); err != nil || v.Set(true, nil) == nil {
		t.Error("a valve that closes and keeps nothing is taken")
	}
}

func TestWhatCannotBeKeptIsClosedAllTheSame_AndTold(t *testing.T) {
	v, log := valve(t, true, &memory{writes: errors.New("no space")})
	v.Concluded(leak("A"))
	if v.Closed() == nil || !strings.Contains(log.String(), "no space") {
		t.Errorf("%+v\n%s", v.Closed(), log)
	}
}

func TestWhatIsClosedMovesWithThePlaceWhereItIsKept(t *testing.T) {
	first, second := &memory{name: "first"}, &memory{name: "second"}
	v, _ := valve(t, true, first)
	v.Concluded(leak("A"))
	if err := v.Set(true, second); err != nil || v.Closed() == nil {
		t.Fatalf("%v %+v", err, v.Closed())
	}
	if again, _ := valve(t, true, second); again.Closed() == nil {
		t.Error("it is not kept in the new place")
	}
	if err := v.Set(true, second); err != nil || v.Closed() == nil {
		t.Error("a reload opens")
	}
}

func TestALongListIsToldInShort(t *testing.T) {
	c := Closure{Since: noon, Found: leak("A", "B", "C", "D", "E").Found}
	if got := c.String(); got != "the leak test of 2026-06-01 12:00 UTC found A, B, C and 2 more" {
		t.Error(got)
	}
}
