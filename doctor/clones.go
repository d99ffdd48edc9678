package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Limits of the search for clones of git. The rules that want them have [RuleTime] each, and the first that asks searches for all.
const (
	cloneDepth  = 3      // levels of a home that are looked at
	maxSearched = 20_000 // directories of all homes
	searchTime  = 3 * time.Second
)

// Clone is a clone of git in a home.
type Clone struct {
	Home   Home
	Config File // its .git/config
}

// Clones gives the clones in the upper levels of the homes. They are searched once, level by level, what is hidden last: what is beyond a limit
// is what is deepest, and that it was not seen is remembered.
func (h *Host) Clones() []Clone {
	m := h.Files.shelf
	m.mu.Lock()
	have, done := m.clones, m.cloned
	m.mu.Unlock()
	if done {
		return have
	}
	ctx, cancel := context.WithTimeout(h.Files.ctx, searchTime)
	defer cancel()
	have = h.searchClones(ctx, maxSearched)
	if h.Files.ctx.Err() == nil { // else not all was seen
		m.mu.Lock()
		m.clones, m.cloned = have, true
		m.mu.Unlock()
	}
	return have
}

// place is a directory to be searched.
type place struct {
	home Home
	path string
	real string // without links; empty where that is not known
}

// searchClones searches until ctx ends, and at most so many directories.
func (h *Host) searchClones(ctx context.Context, limit int) []Clone {
	var found []Clone
	var level []place
	for _, home := range h.Homes {
		level = append(level, place{home, home.Path, ""})
	}
	seen, searched := map[string]bool{}, 0
	for depth := 0; depth <= cloneDepth && len(level) > 0; depth++ {
		var next []place
		for _, at := range level {
			real := at.real
			if real == "" && h.Files.leadsToDirectory(at.path) {
				real, _ = h.Files.Real(at.path) // empty where it is gone
			}
			if real == "" || seen[real] {
				continue
			}
			seen[real] = true
			if searched == limit || ctx.Err() != nil {
				if h.Files.ctx.Err() == nil {
					h.Files.blindTo(fmt.Sprintf("clones of git: homes have more directories than the %d or the %v of a search; those on level %d and below are not all seen", limit, searchTime, depth))
				}
				return found
			}
			searched++
			clone, below := h.Files.subdirectories(real)
			if clone {
				if f, ok := h.Files.Read(path.Join(at.path, ".git/config")); ok {
					found = append(found, Clone{at.home, f})
				}
			}
			if depth == cloneDepth {
				continue
			}
			for _, sub := range below {
				to := place{home: at.home, path: path.Join(at.path, sub.name)}
				if !sub.link {
					to.real = path.Join(real, sub.name)
				}
				next = append(next, to)
			}
		}
		slices.SortStableFunc(next, func(a, b place) int { return a.late() - b.late() })
		level = next
	}
	return found
}

// late says how late in its level a place is searched: links behind directories, and behind both what programs keep for themselves.
func (p place) late() int {
	switch base := path.Base(p.path); {
	case base[0] == '.', base == "AppData", base == "Library", base == "node_modules", strings.Contains(p.path, "/."), strings.Contains(p.path, "/AppData/"):
		return 2
	case p.real == "":
		return 1
	}
	return 0
}

// subdirectory is one, or a link that leads to one.
type subdirectory struct {
	name string
	link bool
}

// subdirectories gives those of a directory, and whether .git is among them, which is not given. The directory is opened once, and nothing in it:
// on some systems that is slow.
func (f Files) subdirectories(real string) (clone bool, all []subdirectory) {
	dir, err := f.root.OpenFile(local(real), openFlags, 0)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.note(real, err)
		return false, nil
	}
	defer dir.Close()
	entries, err := dir.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, nil
	}
	if len(entries) > maxEntries {
		entries = entries[:maxEntries]
		f.blindTo(Plain(real) + ": it has more entries than are looked at")
	}
	for _, e := range entries {
		switch link := e.Type()&fs.ModeSymlink != 0; {
		case e.Name() == ".git":
			clone = true
		case e.IsDir(), link && f.leadsToDirectory(path.Join(real, e.Name())):
			all = append(all, subdirectory{e.Name(), link})
		}
	}
	slices.SortFunc(all, func(a, b subdirectory) int { return strings.Compare(a.name, b.name) })
	return clone, all
}

// leadsToDirectory says whether there is a directory at the end of a link.
func (f Files) leadsToDirectory(name string) bool {
	info, ok := f.Stat(name)
	return ok && info.IsDir()
}
