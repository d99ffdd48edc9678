package read

import "strings"

// INI reads files of sections in brackets and KEY=VALUE: units of systemd, pip.conf, resolved.conf, NetworkManager.conf,
// .npmrc. A line that begins with # or ; is a remark. A backslash at the end of a line goes on with the next; a line that
// begins with a blank goes on with the value before it, as pip and git have it.
func INI(data []byte) []Entry {
	var found []Entry
	section, joined, first := "", "", 0
	one := func(n int, raw string) {
		line := strings.TrimSpace(raw)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			return
		case line[0] == '[':
			if name, _, ok := strings.Cut(line[1:], "]"); ok {
				section = strings.TrimSpace(name)
			}
			return
		}
		key, value, ok := strings.Cut(line, "=")
		if i := strings.Index(line, ":"); !ok && i > 0 {
			key, value, ok = line[:i], line[i+1:], true // as Python's configparser has it
		}
		if ok && len(found) < maxEntries {
			found = append(found, Entry{section, strings.TrimSpace(key), strings.TrimSpace(value), n})
		}
	}
	lines(data, func(n int, line string) {
		if joined == "" {
			first = n
		}
		if rest, more := strings.CutSuffix(line, `\`); more && len(joined) < 1<<16 {
			joined += rest + " "
			return
		}
		one(first, joined+line)
		joined = ""
	})
	if joined != "" {
		one(first, joined)
	}
	return found
}

// Unit reads the value of Environment= of a unit: assignments with blanks between them, each of which may be quoted. The
// line is for the caller to say.
func Unit(value string) []Assignment {
	var found []Assignment
	for _, c := range words(strings.ReplaceAll(strings.ReplaceAll(value, ";", `\;`), "&", `\&`)) {
		for _, w := range c {
			if name, v, ok := strings.Cut(w.text, "="); ok && variable.MatchString(name) && len(found) < maxEntries {
				found = append(found, Assignment{Name: name, Value: strings.ReplaceAll(v, "%%", "%"), Known: true})
			}
		}
	}
	return found
}
