package daemon

import (
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"watertight/config"
	"watertight/dnssec"
	"watertight/event"
	"watertight/resolve"
	"watertight/state"
)

// stateText is the key `state` for a directory.
func stateText(dir string) string { return "state: \"" + dir + "\"\n" }

// diaryIn is a diary in a directory, with what it logs.
func diaryIn(t *testing.T, dir string) (*diary, *lines) {
	t.Helper()
	log := &lines{}
	m, err := newDiary(dir, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return m, log
}

// wantPassed fails the test unless a directory comes to hold a time that is no earlier.
func wantPassed(t *testing.T, dir string, least time.Time) {
	t.Helper()
	m, log := diaryIn(t, dir)
	got := m.passed()
	if got.Before(least) || log.String() != "" {
		t.Errorf("%s holds %v, want %v or later: %s", dir, got, least, log)
	}
	info, err := os.Stat(m.dir.Path(clockFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestState_KeepsTheTimeThatHasPassed_AndMovesAtAReload(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "a", "b"), filepath.Join(t.TempDir(), "c")
	l := newLive(t, stateText(first)).start().awaitReady()
	wantPassed(t, first, built())
	l.mustReload(stateText(second))
	wantPassed(t, second, built())
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(l.log.String()) {
		if strings.Contains(line, "level=WARN") && !strings.Contains(line, "deserves a look") {
			t.Error(line)
		}
	}
}

func TestState_NoneKeepsNothing_AndTheEnvironmentsDirectoryStandsForNoKey(t *testing.T) {
	for text, want := range map[string]string{"": "/by/default", "state: none\n": "", "state: /some/where\n": "/some/where"} {
		c, err := config.Parse("f", []byte(text), config.ThisHost())
		if err != nil {
			t.Fatal(err)
		}
		if got := stateDir(c, "/by/default"); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	m, err := newDiary("", slog.New(slog.DiscardHandler))
	if m != nil || err != nil || m.keeper("x", nil) != nil || !m.passed().IsZero() || !m.floor().At().Equal(built()) {
		t.Errorf("%+v, %v", m, err)
	}
	m.keepPassed(time.Now())
	l := newLive(t, "").start().awaitReady() // no key, and nothing that stands for it
	if !strings.Contains(l.log.String(), "no directory is known") {
		t.Error(l.log)
	}
}

// The clock was right when the program ran last, and is set back now: certificates that have expired since would be good.
func TestAClockThatWasSetBackBetweenTwoRuns_MakesNoResolverTrusted_AndTheLogSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	m, _ := diaryIn(t, dir)
	m.keepPassed(time.Now().Add(48 * time.Hour))
	l := newLive(t, stateText(dir)+"\nlisten: {proxy: \"127.0.0.1:0\"}\n").start()
	l.refuses(l.at.Proxy[0], l.target(), 503, "NOT_READY")
	ready, why := l.d.current().ready()
	if ready || !strings.Contains(strings.Join(why, "\n"), "the clock says ") || l.dns.Conns() != 0 {
		t.Errorf("ready: %v: %q; %d connections", ready, why, l.dns.Conns())
	}
	if log := l.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "the clock of this host is wrong") {
		t.Error(log)
	}
	f := l.d.sharedNow().floor.Check(time.Now())
	if f == nil || !strings.Contains(m.floor().Check(time.Now()).Error(), "has passed") {
		t.Error(f)
	}
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(m.dir.Path(clockFile)); err != nil { // as the hint says
		t.Fatal(err)
	}
	l = newLive(t, stateText(dir)).start().awaitReady()
	l.tunnel(l.at.Proxy[0])
}

func TestState_ThatCannotBeReadOrWritten_IsToldAndStopsNothing(t *testing.T) {
	for what, make := range map[string]func(t *testing.T, dir string) (told string){
		"a file in its way": func(t *testing.T, dir string) string {
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return "cannot be kept"
		},
		"damaged": func(t *testing.T, dir string) string {
			m, _ := diaryIn(t, dir)
			m.keepPassed(time.Now().Add(48 * time.Hour))
			text, err := os.ReadFile(m.dir.Path(clockFile))
			if err == nil {
				err = os.WriteFile(m.dir.Path(clockFile), text[:len(text)-3], 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			return "damaged"
		},
		"another's": func(t *testing.T, dir string) string {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, clockFile), []byte(`{"passed":"2100-01-01T00:00:00Z"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			return state.ErrForeign.Error()
		},
		"a time beyond all sense": func(t *testing.T, dir string) string {
			m, _ := diaryIn(t, dir)
			m.write(clockFile, []byte(`{"passed":"9999-01-01T00:00:00Z"}`))
			return "the time that was kept is none"
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			told := make(t, dir)
			l := newLive(t, stateText(dir)).start().awaitReady()
			l.tunnel(l.at.Proxy[0])
			log := l.log.String()
			if !strings.Contains(log, "level=WARN") || !strings.Contains(log, told) {
				t.Error(log)
			}
			if strings.Count(log, "cannot be kept") > 1 {
				t.Errorf("told again and again: %s", log)
			}
		})
	}
}

func TestState_OfAChannelsAnchors_IsOfThatChannelAndThoseAnchors(t *testing.T) {
	dir := t.TempDir()
	m, log := diaryIn(t, dir)
	anchors := dnssec.RootAnchors()
	k := m.keeper("direct", nil)
	if k.Load() != nil {
		t.Error("something is there")
	}
	k.Save([]byte("direct's"))
	for what, other := range map[string]resolve.Keeper{
		"another channel": m.keeper("other", nil), "other anchors": m.keeper("direct", anchors[:1]),
	} {
		if got := other.Load(); got != nil {
			t.Errorf("%s: %q", what, got)
		}
	}
	for what, same := range map[string]resolve.Keeper{
		"the program's, written out": m.keeper("direct", anchors), "in another order": m.keeper("direct", []dnssec.Anchor{anchors[1], anchors[0]}),
	} {
		if got := same.Load(); string(got) != "direct's" {
			t.Errorf("%s: %q", what, got)
		}
	}
	if log.String() != "" {
		t.Error(log)
	}
	m.reads = true // `watertight resolve`
	k.Save([]byte("changed"))
	if got := k.Load(); string(got) != "direct's" {
		t.Errorf("%q", got)
	}
	k.Refuse(fs.ErrInvalid)
	if !strings.Contains(log.String(), "is not used") {
		t.Error(log)
	}
}

func TestState_IsGivenToChannelsThatValidate_AndToNoOthers(t *testing.T) {
	m, _ := diaryIn(t, t.TempDir())
	for mode, want := range map[resolve.Mode]bool{resolve.Off: false, "": false, resolve.Validate: true, resolve.RequireSecure: true} {
		c := config.Channel{Name: "x", Resolver: config.Resolver{DNSSEC: resolve.DNSSEC{Mode: mode}}}
		if got := specOf(c, shared{sink: event.Discard{}, diary: m}).Resolver.DNSSEC.Keep; (got != nil) != want {
			t.Errorf("%q: %v", mode, got)
		}
	}
}

// What the file of a channel says is not trusted more than the anchors to begin with.
func TestState_WithTheAnchorsOfAnotherRoot_IsToldAndReplacedByNothing(t *testing.T) {
	dir := t.TempDir()
	m, _ := diaryIn(t, dir)
	k := m.keeper("direct", nil)
	set, err := dnssec.NewAnchorSet(dnssec.RootAnchors()[:1])
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	k.Save(text)
	l := newLive(t, stateText(dir)+"channels: {}\n")
	l.text = l.config(stateText(dir) + l.channels(", dnssec: validate"))
	l.d.o.Config = l.load()
	l.start().awaitReady()
	if log := l.log.String(); !strings.Contains(log, "is not used") || !strings.Contains(log, dnssec.ErrOtherAnchors.Error()) {
		t.Error(log)
	}
	if d := l.d.Status().Channels[0].Resolver.DNSSEC; d == nil || len(d.Anchors) != len(dnssec.RootAnchors()) {
		t.Errorf("%+v", d)
	}
}
