package leaktest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// maxEvidence bounds the sentences of one case, and maxSentence the octets of one.
const (
	maxEvidence = 200
	maxSentence = 600
)

// findings are what a case has found so far. Its methods may be called from many goroutines.
type findings struct {
	mu       sync.Mutex
	tried    int
	evidence []string
	cut      int // sentences that found no place
	leaks    []found
	doubts   []string
	fixes    []string // of the doubts
	skips    []string
	visits   []visited
	needed   bool // no run is sealed without it, as things are here
}

// ofIPv6 is the cause of what leaks for IPv6 alone: where IPv4 leaks too, there is another.
const ofIPv6 = "D9"

// found is a leak: a row of docs/leaks.md, and what to do about it.
type found struct{ cause, fix string }

// note adds a sentence of evidence.
func (f *findings) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(format, args...)
}

func (f *findings) add(format string, args ...any) {
	if len(f.evidence) >= maxEvidence {
		f.cut++
		return
	}
	f.evidence = append(f.evidence, clean(fmt.Sprintf(format, args...)))
}

// held counts something that was tried and was as it should be.
func (f *findings) held(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried++
	f.add(format, args...)
}

// leak adds a leak with its cause and its fix; empty ones are those of the case. Leaks are never cut from the evidence.
func (f *findings) leak(cause, fix, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried++
	f.leaks = append(f.leaks, found{cause, fix})
	f.evidence = slices.Insert(f.evidence, len(f.leaks)-1, "LEAK: "+clean(fmt.Sprintf(format, args...)))
	if len(f.evidence) > maxEvidence {
		f.evidence = f.evidence[:maxEvidence]
		f.cut++
	}
}

// doubt says that something was tried and shows nothing, with what would mend that.
func (f *findings) doubt(fix, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried++
	f.doubts = append(f.doubts, clean(fmt.Sprintf(format, args...)))
	f.fixes = append(f.fixes, fix)
}

// skip says why something was not tried.
func (f *findings) skip(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.skips = append(f.skips, clean(fmt.Sprintf(format, args...)))
}

// need says that no run is sealed without the case here, where that depends.
func (f *findings) need() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.needed = true
}

// visit adds a label that was asked for, which is compared with what the canary has seen of it.
func (f *findings) visit(v visited) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.visits = append(f.visits, v)
}

// made gives the labels that were asked for.
func (f *findings) made() []visited {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.visits)
}

// conclude makes the case of what was found.
func (f *findings) conclude(d definition) Case {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := Case{ID: d.ID, Title: d.Title, Cause: d.Cause, Needed: d.Needed || f.needed, Evidence: slices.Clone(f.evidence)}
	if c.Evidence == nil {
		c.Evidence = []string{}
	}
	for _, s := range f.skips {
		c.Evidence = append(c.Evidence, "not tried: "+s)
	}
	if f.cut > 0 {
		c.Evidence = append(c.Evidence, fmt.Sprintf("and %d more", f.cut))
	}
	switch {
	case len(f.leaks) > 0:
		first := f.leaks[max(0, slices.IndexFunc(f.leaks, func(l found) bool { return l.cause != ofIPv6 }))]
		c.Verdict, c.Cause = Leak, orElse(first.cause, d.Cause)
		c.Fix = orElse(first.fix, d.fix)
	case len(f.doubts) > 0:
		c.Verdict, c.Reason = Inconclusive, strings.Join(some(f.doubts), "; ")
		c.Fix = f.fixes[0]
	case f.tried > 0:
		c.Verdict = Sealed
	default:
		c.Verdict, c.Reason = Skipped, orElse(strings.Join(some(f.skips), "; "), "there was nothing to try")
		c.Evidence = []string{}
	}
	return c
}

// some gives the first of many different sentences.
func some(list []string) (few []string) {
	for _, s := range list {
		if !slices.Contains(few, s) {
			few = append(few, s)
		}
	}
	if len(few) > 4 {
		few = append(few[:4:4], fmt.Sprintf("and %d more", len(few)-4))
	}
	return few
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// clean takes from a text what a terminal would obey, and bounds it: it may be another's.
func clean(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", ": ") // what is more than a line is a sentence and its mend
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) && r != ' ' {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxSentence {
		s = strings.ToValidUTF8(s[:maxSentence], "") + "…"
	}
	return s
}
