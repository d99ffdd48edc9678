package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"watertight/clock"
	"watertight/config"
	"watertight/dnssec"
	"watertight/resolve"
	"watertight/state"
)

// diary is what is kept from one run of the program to the next: how far the keys of the root have come, and what is
// known of the time. Where it cannot be read or written the program goes on without it, and says so. A nil diary keeps
// nothing.
type diary struct {
	dir   *state.Dir
	log   *slog.Logger
	reads bool // and writes nothing

	mu      sync.Mutex
	failing bool // to write, which was told
}

// stateDir gives the directory of the diary of a configuration, or nothing. byDefault is that of the environment.
func stateDir(c *config.Config, byDefault string) string {
	switch c.State {
	case config.NoState:
		return ""
	case "":
		return byDefault
	}
	return c.State
}

// newDiary makes the diary in a directory, nil where there is none.
func newDiary(path string, log *slog.Logger) (*diary, error) {
	if path == "" {
		return nil, nil
	}
	dir, err := state.New(path)
	if err != nil {
		return nil, err
	}
	return &diary{dir: dir, log: log}, nil
}

// read gives a text, or nothing; why not is logged, unless nothing was kept yet.
func (m *diary) read(name string) []byte {
	text, err := m.dir.Read(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("what was kept of earlier runs cannot be read, and is not used", "error", err)
	}
	return text
}

// write keeps a text. That it cannot be is logged once, and again after it could be.
func (m *diary) write(name string, text []byte) {
	if m.reads {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.dir.Write(name, text)
	if err != nil && !m.failing {
		m.log.Warn("what is learnt of the keys of the root and of the time cannot be kept, and is forgotten at the end", "error", err,
			"hint", "give this user the right to write there, or write `state: DIR` or `state: none`")
	}
	m.failing = err != nil
}

// keeper keeps the trust anchors of one channel.
type keeper struct {
	path string // first, since specifications are compared
	name string
	m    *diary
}

// keeper gives the keeper of a channel for the anchors that it begins with: with others it begins anew.
func (m *diary) keeper(channel string, initial []dnssec.Anchor) resolve.Keeper {
	if m == nil {
		return nil
	}
	if len(initial) == 0 {
		initial = dnssec.RootAnchors()
	}
	texts := make([]string, len(initial))
	for i, a := range initial {
		texts[i] = a.String()
	}
	slices.Sort(texts)
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
	name := "anchors-" + channel + "-" + hex.EncodeToString(sum[:6])
	return &keeper{path: m.dir.Path(name), name: name, m: m}
}

// Load gives what was kept.
func (k *keeper) Load() []byte { return k.m.read(k.name) }

// Save keeps a text.
func (k *keeper) Save(text []byte) { k.m.write(k.name, text) }

// Refuse says why what was kept is not used.
func (k *keeper) Refuse(why error) {
	k.m.log.Warn("what was kept of the keys of the root is not used; the trust anchors of the program or its configuration are", "file", k.path, "why", why)
}

// clockFile is where the time is kept that has passed for certain.
const clockFile = "clock"

type keptTime struct {
	Passed time.Time `json:"passed"`
}

// lastSense bounds what is believed of a file: a program of this time is not in use then.
var lastSense = time.Date(2200, time.January, 1, 0, 0, 0, 0, time.UTC)

// passed gives the time that was kept; the zero time where there is none.
func (m *diary) passed() time.Time {
	if m == nil {
		return time.Time{}
	}
	text := m.read(clockFile)
	if text == nil {
		return time.Time{}
	}
	var kept keptTime
	if err := json.Unmarshal(text, &kept); err != nil || kept.Passed.After(lastSense) {
		m.log.Warn("the time that was kept is none, and is not used", "file", m.dir.Path(clockFile), "error", err)
		return time.Time{}
	}
	return kept.Passed
}

// keepPassed keeps a time that has passed, unless a later one is kept.
func (m *diary) keepPassed(t time.Time) {
	if m == nil || !t.After(m.passed()) {
		return
	}
	if text, err := json.Marshal(keptTime{t.UTC()}); err == nil { // it is plain data
		m.write(clockFile, text)
	}
}

// floor makes the floor of the time from the program's own and the one that was kept.
func (m *diary) floor() *clock.Floor {
	hint, at := "", built()
	if m != nil {
		hint = fmt.Sprintf("set the clock of this host; if it is right, remove %s and start again", m.dir.Path(clockFile))
	}
	if kept := m.passed(); kept.After(at) {
		at = kept
	}
	return clock.NewFloor(at, hint)
}
