package read

import "strings"

// SSH reads an ssh_config(5). The section is the patterns of the Host the option is for, or "match" with what it asks; empty
// for all hosts. Keys are in lower case. Includes are not followed.
func SSH(data []byte) []Entry {
	var found []Entry
	section := ""
	lines(data, func(n int, line string) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || len(found) >= maxEntries {
			return
		}
		i := strings.IndexAny(line, " \t=")
		if i < 0 {
			return
		}
		key := strings.ToLower(line[:i])
		value := strings.Trim(strings.TrimLeft(line[i:], " \t="), `"`)
		switch key {
		case "host":
			if section = value; value == "*" {
				section = ""
			}
		case "match":
			if section = "match " + value; strings.EqualFold(value, "all") {
				section = ""
			}
		default:
			found = append(found, Entry{section, key, strings.TrimSpace(value), n})
		}
	})
	return found
}
