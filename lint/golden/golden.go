// Package golden keeps the list of everything in our dependencies that can dial, look up or start a program, each with
// the reason why it never does so in Watertight.
//
// The list is dials.txt. The rules of lint/onedoor are applied to every package that the program is linked from: what
// they find must be in the list, and what is in the list must be found. A new version of a dependency that dials in a
// new place fails the test until somebody has read that place and written the reason down.
package golden

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Entry is one place in a dependency. A package of the standard library is one entry, without function and symbol.
type Entry struct {
	Package string
	Func    string // the function, as in (*Client).Dial; "package" outside any
	Symbol  string // what it uses, as in net.Dial
}

// String writes the entry as a line of the list.
func (e Entry) String() string {
	if e.Func == "" {
		return e.Package + ": why"
	}
	return "\t" + e.Func + " " + e.Symbol
}

// Compare orders entries by package, function and symbol.
func Compare(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Func, b.Func), cmp.Compare(a.Symbol, b.Symbol))
}

// Read reads the list. A line that starts at the margin names a package and, after a colon, the reason that holds for
// the indented lines under it; each of these names a function and what it uses. A package may have several groups.
// Lines that start with a number sign are remarks.
func Read(r io.Reader) (map[Entry]string, error) {
	list := map[Entry]string{}
	var pkg, why string
	put := func(n int, e Entry) error {
		if _, twice := list[e]; twice {
			return fmt.Errorf("line %d: %s is listed twice", n, e)
		}
		list[e] = why
		return nil
	}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "\t") {
			fn, symbol, ok := strings.Cut(strings.TrimSpace(line), " ")
			if !ok || pkg == "" {
				return nil, fmt.Errorf("line %d: want a function and a symbol under a package", n)
			}
			if err := put(n, Entry{pkg, fn, strings.TrimSpace(symbol)}); err != nil {
				return nil, err
			}
			continue
		}
		var ok bool
		pkg, why, ok = strings.Cut(line, ": ")
		why = strings.TrimSpace(why)
		if !ok || len(why) < 10 {
			return nil, fmt.Errorf("line %d: want a package, a colon and a reason", n)
		}
		if Standard(pkg) {
			if err := put(n, Entry{Package: pkg}); err != nil {
				return nil, err
			}
		}
	}
	return list, lines.Err()
}

// Standard says whether an import path is the standard library's.
func Standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".")
}

// Diff compares what was found with the list: what is new, and what is listed and no longer there.
func Diff(found []Entry, list map[Entry]string) (fresh, stale []Entry) {
	for _, e := range found {
		if _, ok := list[e]; !ok {
			fresh = append(fresh, e)
		}
	}
	for e := range list {
		if !slices.Contains(found, e) {
			stale = append(stale, e)
		}
	}
	slices.SortFunc(fresh, Compare)
	slices.SortFunc(stale, Compare)
	return fresh, stale
}
