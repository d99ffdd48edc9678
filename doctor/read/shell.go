package read

import (
	"regexp"
	"slices"
	"strings"
)

// Assignment is a variable that a file sets or unsets.
type Assignment struct {
	Name, Value string
	Line        int  // from 1
	Known       bool // Value is what it will be; false where a command or a variable that the file does not set stands in it
	Unset       bool
}

var (
	variable  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	function  = regexp.MustCompile(`^(function\s+[\w-]+\s*(\(\s*\))?|[\w-]+\s*\(\s*\))\s*(\{|$)`)
	reference = regexp.MustCompile(`\$(\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)
)

// Shell reads what is common to profiles of sh, bash, zsh, ksh, csh and fish, to environment(5), environment.d(5) and files
// that systemd reads variables from. An assignment before a command is that command's own and is left out; so is what stands
// in a function, which nobody may ever call. Conditions are taken as true.
func Shell(data []byte) []Assignment {
	s := shell{values: map[string]string{}}
	joined, first := "", 0
	lines(data, func(n int, line string) {
		if joined == "" {
			first = n
		}
		if rest, more := strings.CutSuffix(line, `\`); more && len(joined) < 1<<16 {
			joined += rest
			return
		}
		s.line(first, joined+line)
		joined = ""
	})
	if joined != "" {
		s.line(first, joined)
	}
	return s.found
}

type shell struct {
	found  []Assignment
	values map[string]string
	inside bool // of a function
}

func (s *shell) line(n int, line string) {
	trimmed := strings.TrimSpace(line)
	if s.inside {
		s.inside = !(strings.HasPrefix(line, "}") || trimmed == "}" || trimmed == "end" && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t"))
		return
	}
	if function.MatchString(trimmed) {
		s.inside = !strings.HasSuffix(trimmed, "}")
		return
	}
	for _, command := range words(trimmed) {
		s.command(n, command)
	}
}

// word is one of a command: its text, and whether all of it is literal.
type word struct {
	text    string
	literal bool // no $ or ` outside single quotes
}

// words splits a line into commands and their words.
func words(line string) [][]word {
	var commands [][]word
	var command []word
	var b strings.Builder
	has, literal := false, true
	end := func() {
		if has {
			command = append(command, word{b.String(), literal})
		}
		b.Reset()
		has, literal = false, true
	}
	var quote byte
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'':
			b.WriteByte(c)
		case c == '\\' && i+1 < len(line) && (quote == 0 || strings.IndexByte("\"\\$`", line[i+1]) >= 0):
			i++
			b.WriteByte(line[i])
			has = true
		case c == '`' || c == '$' && i+1 < len(line) && line[i+1] == '(':
			n := substitution(line[i:])
			b.WriteString(line[i : i+n])
			i += n - 1
			has, literal = true, false
		case quote == '"':
			literal = literal && c != '$' && c != '`'
			b.WriteByte(c)
		case c == '\'' || c == '"':
			quote, has = c, true
		case c == '#' && !has:
			i = len(line)
		case c == ';' || c == '&' || c == '|':
			end()
			if len(command) > 0 {
				commands = append(commands, command)
			}
			command = nil
		case c == ' ' || c == '\t':
			end()
		default:
			literal = literal && c != '$' && c != '`'
			has = true
			b.WriteByte(c)
		}
	}
	end()
	if len(command) > 0 {
		commands = append(commands, command)
	}
	return commands
}

// substitution gives the length of the command in ` ` or $( ) that a text begins with; all of the text where it does not end.
func substitution(s string) int {
	if s[0] == '`' {
		if end := strings.IndexByte(s[1:], '`'); end >= 0 {
			return end + 2
		}
		return len(s)
	}
	depth := 0
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

var (
	openers   = []string{"if", "then", "else", "elif", "do", "{", "case", "while", "until", "begin", "and", "or", "[", "[[", "test", "builtin", "command"}
	exporters = []string{"export", "declare", "typeset", "readonly", "local"}
)

func (s *shell) command(n int, c []word) {
	for len(c) > 0 && slices.Contains(openers, c[0].text) {
		c = c[1:]
	}
	if len(c) == 0 {
		return
	}
	switch first := c[0].text; {
	case slices.Contains(exporters, first):
		for _, w := range c[1:] {
			s.assign(n, w)
		}
	case first == "unset":
		for _, w := range c[1:] {
			s.unset(n, w.text)
		}
	case first == "setenv" && len(c) >= 3:
		s.set(n, c[1].text, c[2])
	case first == "unsetenv" && len(c) >= 2:
		s.unset(n, c[1].text)
	case first == "set":
		s.fish(n, c[1:])
	default:
		for _, w := range c {
			if name, _, ok := strings.Cut(w.text, "="); !ok || !variable.MatchString(name) {
				return // a command with variables of its own
			}
		}
		for _, w := range c {
			s.assign(n, w)
		}
	}
}

// fish reads `set -gx NAME VALUE` and `set -e NAME`.
func (s *shell) fish(n int, c []word) {
	if len(c) > 0 && c[0].text == "--" {
		return // the arguments of a script of sh
	}
	erase := false
	for len(c) > 0 && strings.HasPrefix(c[0].text, "-") {
		erase = erase || c[0].text == "--erase" || !strings.HasPrefix(c[0].text, "--") && strings.Contains(c[0].text, "e")
		c = c[1:]
	}
	switch {
	case len(c) == 0:
	case erase:
		s.unset(n, c[0].text)
	case len(c) == 2:
		s.set(n, c[0].text, c[1])
	}
}

func (s *shell) assign(n int, w word) {
	if name, value, ok := strings.Cut(w.text, "="); ok {
		s.set(n, name, word{value, w.literal})
	}
}

func (s *shell) set(n int, name string, w word) {
	if !variable.MatchString(name) || len(s.found) >= maxEntries {
		return
	}
	known := true
	value := w.text
	if !w.literal {
		value = reference.ReplaceAllStringFunc(value, func(ref string) string {
			v, ok := s.values[strings.Trim(ref, "${}")]
			known = known && ok && len(v) < 4096
			if !known {
				return ref
			}
			return v
		})
		known = known && !strings.ContainsAny(value, "$`") && len(value) < 1<<16
	}
	if known {
		s.values[name] = value
	} else {
		delete(s.values, name)
	}
	s.found = append(s.found, Assignment{Name: name, Value: value, Line: n, Known: known})
}

func (s *shell) unset(n int, name string) {
	if variable.MatchString(name) && len(s.found) < maxEntries {
		delete(s.values, name)
		s.found = append(s.found, Assignment{Name: name, Line: n, Known: true, Unset: true})
	}
}

// PamEnv reads pam_env.conf(5) and ~/.pam_environment: NAME DEFAULT=VALUE OVERRIDE=VALUE, and NAME=VALUE.
func PamEnv(data []byte) []Assignment {
	var found []Assignment
	lines(data, func(n int, line string) {
		for _, c := range words(strings.TrimSpace(line)) {
			if len(found) >= maxEntries || len(c) == 0 {
				return
			}
			if name, value, ok := strings.Cut(c[0].text, "="); ok && variable.MatchString(name) {
				found = append(found, Assignment{Name: name, Value: value, Line: n, Known: c[0].literal})
				continue
			}
			for _, w := range c[1:] {
				key, value, ok := strings.Cut(w.text, "=")
				if ok && (key == "DEFAULT" || key == "OVERRIDE") && value != "" && variable.MatchString(c[0].text) {
					found = append(found, Assignment{Name: c[0].text, Value: value, Line: n, Known: w.literal && !strings.Contains(value, "@{")})
				}
			}
		}
	})
	return found
}
