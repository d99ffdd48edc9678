package read

import "strings"

// Git reads a configuration of git(1). A section is given as `remote.origin`: its name in lower case, and what it is of as it
// is written. Includes are not followed.
func Git(data []byte) []Entry {
	var found []Entry
	section, joined, first := "", "", 0
	one := func(n int, raw string) {
		line := strings.TrimSpace(raw)
		if strings.HasPrefix(line, "[") {
			name, rest, ok := strings.Cut(line[1:], "]")
			if !ok {
				return
			}
			kind, sub, quoted := strings.Cut(name, `"`)
			section = strings.ToLower(strings.TrimSpace(kind))
			if quoted {
				section += "." + strings.TrimSuffix(strings.TrimSpace(sub), `"`)
			}
			line = strings.TrimSpace(rest)
		}
		if line == "" || line[0] == '#' || line[0] == ';' || len(found) >= maxEntries {
			return
		}
		key, value, _ := strings.Cut(line, "=")
		found = append(found, Entry{section, strings.ToLower(strings.TrimSpace(key)), gitValue(value), n})
	}
	lines(data, func(n int, line string) {
		if joined == "" {
			first = n
		}
		if rest, more := strings.CutSuffix(line, `\`); more && len(joined) < 1<<16 {
			joined += rest
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

// gitValue takes quotes, escapes and a remark off a value.
func gitValue(s string) string {
	s = strings.TrimSpace(s)
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case (c == '#' || c == ';') && !quoted:
			return strings.TrimSpace(b.String())
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return b.String()
	}
	return strings.TrimSpace(b.String())
}
