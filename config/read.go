package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// loader reads one file. It goes on after every error, so that all of them are reported.
type loader struct {
	file     string // as the user wrote it; empty if there is none
	host     Host
	problems Problems
	warnings []Problem
	places   map[string]pos    // by path: where a value was written
	written  map[string]string // by path: the text of a value with a secret in it
}

func newLoader(file string, host Host) *loader {
	return &loader{file: file, host: host, places: map[string]pos{}, written: map[string]string{}}
}

func (l *loader) problem(at pos, what, mend string) {
	l.problems = append(l.problems, Problem{File: l.name(), Line: at.line, Column: at.column, What: oneLine(what), Mend: oneLine(mend)})
}

func (l *loader) warn(at pos, what, mend string) {
	l.warnings = append(l.warnings, Problem{File: l.name(), Line: at.line, Column: at.column, What: oneLine(what), Mend: oneLine(mend)})
}

// name is the file in messages. A place without a file would be read as one of the command line.
func (l *loader) name() string {
	if l.file == "" {
		return "configuration"
	}
	return l.file
}

// at is where a path was written, or else the nearest place above it.
func (l *loader) at(path string) pos {
	for {
		if p, ok := l.places[path]; ok {
			return p
		}
		if p, ok := l.places[single(path)]; ok {
			return p
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return pos{1, 1}
		}
		path = path[:i]
	}
}

// stands says whether something was written at a path, right or wrong.
func (l *loader) stands(path string) bool {
	_, ok := l.places[path]
	return ok
}

// single is the path of a value that was written without the list it could stand in.
func single(path string) string {
	if i := strings.LastIndex(path, "[0]"); i >= 0 {
		return path[:i] + path[i+3:]
	}
	return path
}

// say gives a value for a message: as it was written, where a secret went into it.
func (l *loader) say(path, value string) string {
	if w, ok := l.written[path]; ok {
		return clip(masked(w))
	}
	if w, ok := l.written[single(path)]; ok {
		return clip(masked(w))
	}
	return clip(value)
}

// fields reads a map whose keys the table knows. It reports whatever else stands there, and calls set for each known
// key that has a value. row is the map's path in the table, path its path in the file; both are empty at the root.
func (l *loader) fields(n *node, row, path string, set func(key string, v *node, path string)) bool {
	if !l.isMap(n, row, path) {
		return false
	}
	known := below(row)
	seen := map[string]pos{}
	for _, p := range n.pairs {
		key := p.key.text
		at := join(path, key)
		if l.repeated(seen, p.key, at) {
			continue
		}
		if mend, ok := later[join(row, key)]; ok {
			l.problem(p.key.pos, fmt.Sprintf("`%s` is not in this version", at), mend)
			continue
		}
		if now, ok := renamed[join(row, key)]; ok {
			l.problem(p.key.pos, fmt.Sprintf("`%s` is renamed to `%s`", at, now.to), now.mend)
			continue
		}
		if !slices.Contains(known, key) {
			l.unknown(p.key, path, known)
			continue
		}
		l.places[at] = p.value.pos
		if p.value.kind == kindNull {
			l.problem(p.key.pos, fmt.Sprintf("`%s` has no value", at), "write one, or remove the key to get its default")
			continue
		}
		if p.value.kind != kindWrong {
			set(key, p.value, at)
		}
	}
	return true
}

// names reads a map whose keys the user chooses.
func (l *loader) names(n *node, row, path string, set func(key *node, v *node, path string)) {
	if !l.isMap(n, row, path) {
		return
	}
	seen := map[string]pos{}
	for _, p := range n.pairs {
		at := join(path, p.key.text)
		if l.repeated(seen, p.key, at) {
			continue
		}
		l.places[at] = p.key.pos
		if p.value.kind == kindNull {
			l.problem(p.key.pos, fmt.Sprintf("`%s` has no value", at), "write one (`{}` is an empty map), or remove the key")
			continue
		}
		set(p.key, p.value, at)
	}
}

func (l *loader) isMap(n *node, row, path string) bool {
	switch {
	case n.kind == kindMap:
		return true
	case n.kind == kindWrong || n.kind == kindNull:
	case path == "" && (n.kind != kindText || !startsKey(n.text, below(""))):
		l.problem(n.pos, "the file is not a map of keys", "begin with keys such as `listen:`; known here: "+strings.Join(below(""), ", "))
	case len(below(row)) == 0:
		l.problem(n.pos, fmt.Sprintf("`%s` is not a map of names", path), "write `name: value` below it")
	case n.kind == kindText && startsKey(n.text, below(row)):
		key, _, _ := strings.Cut(n.text, ":")
		l.problem(n.pos, fmt.Sprintf("a space is missing behind `%s:`", key), "write `"+key+": VALUE`: without the space YAML reads one text")
	default:
		l.problem(n.pos, fmt.Sprintf("`%s` is not a map of keys", path), "known below it: "+strings.Join(below(row), ", "))
	}
	return false
}

// startsKey says that a text is a known key with a colon and, right behind it, a value.
func startsKey(text string, known []string) bool {
	key, _, found := strings.Cut(text, ":")
	return found && slices.Contains(known, key)
}

func (l *loader) repeated(seen map[string]pos, key *node, at string) bool {
	if first, ok := seen[key.text]; ok {
		l.problem(key.pos, fmt.Sprintf("`%s` is written twice: first on line %d", clip(at), first.line), "keep one of the two")
		return true
	}
	seen[key.text] = key.pos
	return false
}

func (l *loader) unknown(key *node, path string, known []string) {
	what := fmt.Sprintf("there is no key `%s`", clip(join(path, key.text)))
	if _, near := Nearest(key.text, known); !near {
		if other := elsewhere(key.text); other != "" {
			l.problem(key.pos, what, "did you mean `"+other+"`? Check the indentation")
			return
		}
	}
	l.problem(key.pos, what, orNearest(key.text, known, "remove it: no key stands here"))
}

// fewer refuses more of something than anyone needs: what is done with them grows faster than their number.
func (l *loader) fewer(at pos, path string, have, most int) bool {
	if have <= most {
		return true
	}
	l.problem(at, fmt.Sprintf("`%s` has %d entries, and at most %d are taken", path, have, most), "write fewer")
	return false
}

// items gives the values of a list, or the one value that stands for a list of one. Paths of the values in a list end
// in [0], [1], ... What is wrong or missing is read too, so that the positions stay: readers say nothing of it.
func (l *loader) items(n *node, path string, read func(n *node, path string)) {
	if n.kind != kindList {
		read(n, path)
		return
	}
	if len(n.list) == 0 {
		l.problem(n.pos, fmt.Sprintf("`%s` is an empty list", path), "write at least one value, or remove the key to get its default")
	}
	for i, item := range n.list {
		at := fmt.Sprintf("%s[%d]", path, i)
		l.places[at] = item.pos
		if item.kind == kindNull {
			l.problem(item.pos, fmt.Sprintf("`%s` has no value", at), "write one, or remove the line")
		}
		read(item, at)
	}
}

// asList makes a list of one of a single value, so that the paths below it end in [0] as those of a list do.
func asList(n *node) *node {
	if n.kind == kindList || n.kind == kindWrong {
		return n
	}
	return &node{kind: kindList, pos: n.pos, list: []*node{n}}
}

// text reads a string: any scalar, just as it is written. `NO` is the text NO.
func (l *loader) text(n *node, path string) (text, bool) {
	if n.kind == kindList || n.kind == kindMap {
		l.problem(n.pos, fmt.Sprintf("`%s` is a text, and %s stands here", path, article(n.kind)), "write one value")
		return text{}, false
	}
	if n.kind != kindText {
		return text{}, false
	}
	t, ok := l.expand(n)
	if !ok {
		return text{}, false
	}
	if t.secret {
		l.written[path] = t.written
	}
	if t.value == "" {
		l.problem(n.pos, fmt.Sprintf("`%s` is an empty text", path), "write a value, or remove the key to get its default")
		return text{}, false
	}
	return t, true
}

// truth reads true or false and nothing else: YAML's yes, no, on and off are texts, and so is "true" in quotes.
func (l *loader) truth(n *node, path string, set *bool) {
	if n.kind == kindText && !n.quoted && (n.text == "true" || n.text == "false") {
		*set = n.text == "true"
		return
	}
	if n.kind != kindWrong {
		l.problem(n.pos, fmt.Sprintf("`%s` is neither true nor false", path), "write true or false, in lower case and without quotes")
	}
}

func (l *loader) integer(n *node, path string, row *Key, set *int) {
	if n.kind == kindWrong {
		return
	}
	v, err := int64(0), strconv.ErrSyntax
	if n.kind == kindText && !n.quoted && strings.Trim(n.text, "0123456789") == "" && (len(n.text) == 1 || n.text[0] != '0') {
		v, err = strconv.ParseInt(n.text, 10, 64)
	}
	if err != nil || v < row.min || v > row.max {
		l.problem(n.pos, fmt.Sprintf("`%s` is not a whole number from %d to %d", path, row.min, row.max), "write digits only, without quotes"+orDefault(row))
		return
	}
	*set = int(v)
}

// orDefault says the default, where there is one.
func orDefault(row *Key) string {
	if row.Default == "" {
		return ""
	}
	return "; the default is " + row.Default
}

func (l *loader) period(n *node, path string, row *Key, set *time.Duration) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	d, err := time.ParseDuration(t.value)
	least, most := time.Duration(row.min)*time.Second, time.Duration(row.max)*time.Second
	if err != nil || d < least || d > most {
		l.problem(n.pos, fmt.Sprintf("`%s` is not a duration from %s to %s", path, short(least), short(most)), "write a number with its unit, such as 500ms, 30s or 5m"+orDefault(row))
		return
	}
	*set = d
}

// choice reads one of a few words.
func choice[T ~string](l *loader, n *node, path string, row *Key, set *T) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	if slices.Contains(row.choices, t.value) {
		*set = T(t.value)
		return
	}
	what := fmt.Sprintf("`%s` can be %s, not `%s`", path, either(row.choices), l.say(path, t.value))
	mend := "write one of them" + orDefault(row)
	if near, ok := Nearest(t.value, row.choices); ok && !t.secret {
		mend = "did you mean `" + near + "`?"
	}
	l.problem(n.pos, what, mend)
}

// either joins words as a sentence does: a, b or c.
func either(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func article(k kind) string {
	if k == kindList {
		return "a list"
	}
	return "a map"
}

// short writes a duration without the zero minutes and seconds of its String: 1h, not 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// clip bounds what a message repeats of the file.
func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:77]) + "..."
	}
	return s
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
