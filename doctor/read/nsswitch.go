package read

import "strings"

// Lookup is the `hosts` line of an nsswitch.conf: where glibc asks for a name, in this order. nsswitch.conf(5).
type Lookup struct {
	Sources []Source
	Line    int // 0 where there is no line: glibc then asks dns and files
}

// Source is one service of the line.
type Source struct {
	Name    string // files, dns, resolve, mdns4_minimal, myhostname, …
	Actions string // what stands in the brackets behind it, without them: "!UNAVAIL=return"
}

// maxSources bounds the line; glibc's have fewer than ten.
const maxSources = 64

// ParseNSSwitch reads the hosts line of an nsswitch.conf. Of several, the first counts, as for glibc.
func ParseNSSwitch(b []byte) Lookup {
	var l Lookup
	lines(b, func(n int, line string) {
		line, _, _ = strings.Cut(line, "#")
		db, rest, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(db) != "hosts" || l.Line != 0 {
			return
		}
		l.Line = n
		for rest = strings.TrimSpace(rest); rest != "" && len(l.Sources) < maxSources; rest = strings.TrimSpace(rest) {
			if rest[0] == '[' {
				actions, after, closed := strings.Cut(rest[1:], "]")
				if !closed {
					return
				}
				if k := len(l.Sources); k > 0 {
					l.Sources[k-1].Actions = strings.TrimSpace(actions)
				}
				rest = after
				continue
			}
			end := strings.IndexAny(rest, " \t[")
			if end < 0 {
				end = len(rest)
			}
			l.Sources = append(l.Sources, Source{Name: rest[:end]})
			rest = rest[end:]
		}
	})
	return l
}

// Asks tells whether a service is among the sources.
func (l Lookup) Asks(service string) bool {
	for _, s := range l.Sources {
		if s.Name == service {
			return true
		}
	}
	return false
}
