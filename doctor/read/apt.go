package read

import (
	"strconv"
	"strings"
)

// Apt reads an apt.conf(5): `A::B "value";` and `A { B "value"; };`. The key is the whole name, in lower case; a list gives
// several entries. A file that nests deeper than a few levels is read up to there.
func Apt(data []byte) []Entry {
	a := aptReader{text: string(data), line: 1}
	a.block("", 0)
	return a.found
}

const maxAptDepth = 16

type aptReader struct {
	text  string
	at    int
	line  int
	found []Entry
}

// token gives the next word, quoted text or mark, with the line it begins on; nothing at the end.
func (a *aptReader) token() (text string, quoted bool, line int) {
	for a.at < len(a.text) {
		rest := a.text[a.at:]
		switch c := rest[0]; {
		case c == '\n':
			a.line++
			a.at++
		case c == ' ' || c == '\t' || c == '\r':
			a.at++
		case strings.HasPrefix(rest, "//") || c == '#':
			a.skip("\n")
		case strings.HasPrefix(rest, "/*"):
			a.skip("*/")
		case c == '"':
			line = a.line
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				end = len(rest) - 1
				a.at = len(a.text)
			} else {
				a.at += end + 2
			}
			text = rest[1 : 1+end]
			a.line += strings.Count(text, "\n")
			return text, true, line
		case c == '{' || c == '}' || c == ';':
			a.at++
			return string(c), false, a.line
		default:
			end := strings.IndexAny(rest, " \t\r\n{};\"")
			if end < 0 {
				end = len(rest)
			}
			a.at += end
			return rest[:end], false, a.line
		}
	}
	return "", false, a.line
}

func (a *aptReader) skip(end string) {
	rest := a.text[a.at:]
	i := strings.Index(rest, end)
	if i < 0 {
		i = len(rest)
	} else if end != "\n" {
		i += len(end)
	}
	a.line += strings.Count(rest[:i], "\n")
	a.at += i
}

func (a *aptReader) block(prefix string, depth int) {
	name := ""
	for len(a.found) < maxEntries {
		text, quoted, line := a.token()
		switch {
		case text == "" && !quoted:
			return
		case quoted:
			a.found = append(a.found, Entry{Key: strings.ToLower(strings.TrimSuffix(prefix+name, "::")), Value: text, Line: line})
		case text == "{":
			if depth >= maxAptDepth {
				return
			}
			a.block(prefix+name+"::", depth+1)
			name = ""
		case text == "}":
			return
		case text == ";":
			name = ""
		case name != "": // an unquoted value
			a.found = append(a.found, Entry{Key: strings.ToLower(prefix + name), Value: text, Line: line})
		default:
			name = text
		}
	}
}

// Properties reads KEY=VALUE lines as Java's Properties do, without continued lines; escapes of : = and \ are taken off.
func Properties(data []byte) []Entry {
	var found []Entry
	unescape := strings.NewReplacer(`\:`, ":", `\=`, "=", `\\`, `\`)
	lines(data, func(n int, line string) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' || len(found) >= maxEntries {
			return
		}
		key, value, ok := strings.Cut(line, "=")
		if ok {
			found = append(found, Entry{Key: strings.TrimSpace(key), Value: unescape.Replace(strings.TrimSpace(value)), Line: n})
		}
	})
	return found
}

// TOML reads the strings and bare values of simple tables: [a.b] and key = "value", with dotted keys. Arrays, inline tables
// and text over several lines are left as they are written.
func TOML(data []byte) []Entry {
	var found []Entry
	section := ""
	lines(data, func(n int, line string) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || len(found) >= maxEntries:
			return
		case line[0] == '[':
			name, _, _ := strings.Cut(strings.TrimLeft(line, "["), "]")
			section = strings.TrimSpace(name)
			return
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return
		}
		value = strings.TrimSpace(value)
		switch {
		case strings.HasPrefix(value, `"`):
			if end := strings.IndexByte(value[1:], '"'); end >= 0 {
				if text, err := strconv.Unquote(value[:end+2]); err == nil {
					value = text
				}
			}
		case strings.HasPrefix(value, "'"):
			value, _, _ = strings.Cut(value[1:], "'")
		default:
			value, _, _ = strings.Cut(value, "#")
			value = strings.TrimSpace(value)
		}
		found = append(found, Entry{section, strings.Trim(strings.TrimSpace(key), `"'`), value, n})
	})
	return found
}
