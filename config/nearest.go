package config

import "strings"

// maxNearest bounds the work of [Nearest] in characters: nothing that long is a slip of the finger.
const maxNearest = 64

// Nearest gives the candidate that word was probably meant to be: the one with the fewest letters added, left out,
// changed or swapped: at most a third of them, and one more where the first is right. It says false where none is near.
// Case does not count.
func Nearest(word string, candidates []string) (string, bool) {
	best, least := "", len(word)/3+2
	if len(word) > maxNearest || word == "" {
		return "", false
	}
	low := strings.ToLower(word)
	for _, c := range candidates {
		if c == "" || len(c) > maxNearest {
			continue
		}
		d := distance(low, strings.ToLower(c))
		if len(word) >= 3 && strings.HasPrefix(strings.ToLower(c), low) {
			d = min(d, 1)
		}
		if d > 1 && d > len(word)/3 && low[0] != strings.ToLower(c)[0] {
			continue // a slip is rarely in the first letter
		}
		if d < least && d < len(c) {
			best, least = c, d
		}
	}
	return best, best != ""
}

// distance is the optimal string alignment distance in octets: Levenshtein's with swaps of neighbours.
func distance(a, b string) int {
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}

// orNearest makes a mend: the nearest candidate, or the list of all.
func orNearest(word string, candidates []string, none string) string {
	if near, ok := Nearest(word, candidates); ok {
		return "did you mean `" + near + "`?"
	}
	if len(candidates) == 0 {
		return none
	}
	known := strings.Join(candidates, ", ")
	if len(known) > 300 {
		known = known[:strings.LastIndex(known[:300], ", ")] + ", ..."
	}
	return "known here: " + known
}
