package config

import (
	"fmt"
	"slices"
	"strings"
)

// maxProblems is how many problems of one file are printed; the rest are counted.
const maxProblems = 100

// Problem is one thing that is wrong, or worth a warning, with its place and its mend.
type Problem struct {
	File   string // as the user wrote it; empty for the command line
	Line   int    // from 1; 0 where there is no place
	Column int    // from 1, in characters
	What   string // what is wrong: lower case, no full stop, no secret
	Mend   string // what to do about it, in the same way
}

// Place is the file, line and column as editors read them, or `command line`.
func (p Problem) Place() string {
	switch {
	case p.File == "":
		return "command line"
	case p.Line == 0:
		return p.File
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
}

// Error gives the problem in one line: place, what is wrong, how to mend it.
func (p Problem) Error() string { return p.Place() + ": " + p.What + "; " + p.Mend }

// String is Error, for a problem that is only a warning.
func (p Problem) String() string { return p.Error() }

// Problems is every error of a configuration, in the order of the file. It is what [Parse], [Load] and
// [Config.Override] give.
type Problems []Problem

// Error gives two lines for each problem: its place and what is wrong, and below it the mend.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i == maxProblems {
			fmt.Fprintf(&b, "... and %d more", len(ps)-i)
			break
		}
		fmt.Fprintf(&b, "%s: %s\n    %s\n", p.Place(), p.What, p.Mend)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// oneLine keeps what comes from a file from breaking a line, or from steering a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, s)
}

// inOrder sorts by place and removes what was said twice of one place.
func (ps Problems) inOrder() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return slices.Compact(ps)
}

// err gives nil where there is no problem: a nil slice in an error is not a nil error.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps.inOrder()
}
