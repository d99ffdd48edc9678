// Package levels reads the order of the packages from ARCHITECTURE.md and holds the tree to it.
//
// The text is a fenced block marked "levels". Each line names packages, separated by a middle dot; what follows a
// number sign is a remark. A package imports only from lines above its own, and packages on one line never import
// each other. A name that ends in /... stands for a package and all below it, which may import each other. A line
// that ends in "(only for a · b)" may be imported by those alone, and one that ends in "(for nobody)" by none.
//
// Only what is linked into the program counts: imports of test files are free.
package levels

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Room is one name of the text.
type Room struct {
	Name    string
	Line    int      // its height, 0 at the top
	OnlyFor []string // who may import it; all below it when the slice is nil
}

// Levels is the order, from the words that everything may use to the program.
type Levels struct {
	rooms []Room
}

var (
	block    = regexp.MustCompile("(?ms)^```levels\n(.*?)^```$")
	audience = regexp.MustCompile(`\s*\((?:only for ([^)]*)|for nobody)\)$`)
)

// Find takes the levels from a Markdown text.
func Find(markdown string) (Levels, error) {
	found := block.FindAllStringSubmatch(markdown, -1)
	if len(found) != 1 {
		return Levels{}, fmt.Errorf("levels: %d blocks marked ```levels, not one", len(found))
	}
	return parse(found[0][1])
}

func parse(text string) (Levels, error) {
	var l Levels
	seen := map[string]bool{}
	height := 0
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		var only []string
		if m := audience.FindStringSubmatchIndex(line); m != nil {
			only = []string{}
			if m[2] >= 0 {
				only = split(line[m[2]:m[3]])
			}
			line = line[:m[0]]
		}
		for _, name := range split(line) {
			if name == "" || strings.ContainsAny(name, " \t()") {
				return Levels{}, fmt.Errorf("levels: %q is not the name of a package", name)
			}
			if seen[name] {
				return Levels{}, fmt.Errorf("levels: %s is named twice", name)
			}
			seen[name] = true
			l.rooms = append(l.rooms, Room{Name: name, Line: height, OnlyFor: only})
		}
		height++
	}
	if len(l.rooms) == 0 {
		return Levels{}, errors.New("levels: the block is empty")
	}
	return l, nil
}

func split(list string) []string {
	names := strings.Split(list, "·")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	return names
}

// room finds the room of a package: its own line first, then the longest pattern above it.
func (l Levels) room(pkg string) (Room, bool) {
	var best Room
	found := false
	for _, r := range l.rooms {
		base, all := strings.CutSuffix(r.Name, "/...")
		if r.Name == pkg {
			return r, true
		}
		if all && (pkg == base || strings.HasPrefix(pkg, base+"/")) && len(r.Name) > len(best.Name) {
			best, found = r, true
		}
	}
	return best, found
}

// Package is one package of the tree, by its path within the module, with what it imports from the module.
type Package struct {
	Path    string
	Imports []string
}

// Check gives every place where the tree and the text differ, as sentences.
func (l Levels) Check(tree []Package) []string {
	var wrong []string
	used := map[string]bool{}
	for _, p := range tree {
		from, ok := l.room(p.Path)
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s has no line in the text", p.Path))
			continue
		}
		used[from.Name] = true
		for _, path := range p.Imports {
			if to, ok := l.room(path); ok {
				if why := refuse(from, to); why != "" {
					wrong = append(wrong, fmt.Sprintf("%s imports %s, %s", p.Path, path, why))
				}
			}
		}
	}
	for _, r := range l.rooms {
		if !used[r.Name] {
			wrong = append(wrong, fmt.Sprintf("%s has a line in the text and is not in the tree", r.Name))
		}
	}
	return wrong
}

// refuse says why one room may not import another, or nothing.
func refuse(from, to Room) string {
	switch {
	case from.Name == to.Name:
		return ""
	case to.OnlyFor != nil && !slices.ContainsFunc(to.OnlyFor, func(name string) bool { return name == from.Name || name+"/..." == from.Name }):
		return "which may be imported only by " + or(strings.Join(to.OnlyFor, " and "), "nobody")
	case to.Line == from.Line:
		return "which is on its own line"
	case to.Line > from.Line:
		return "which is on a line below it"
	}
	return ""
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
