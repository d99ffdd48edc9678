// Package read reads the configuration files of other programs, as far as proxies and names are concerned.
//
// Every reader takes the whole file, which its caller has bounded, and gives what it understood with the line it stands on;
// what it does not understand it passes over, for the file is not ours. None of them expands a command, follows an include
// or keeps more than a limit of entries.
package read

import "strings"

// maxEntries is how many entries of a file are kept.
const maxEntries = 10_000

// Entry is one setting of a file.
type Entry struct {
	Section string // as the format calls it; empty for none
	Key     string
	Value   string
	Line    int // from 1
}

// lines gives the lines of a text with their numbers, without their ends.
func lines(data []byte, each func(n int, line string)) {
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		each(n, strings.TrimRight(line, "\r\n"))
	}
}
