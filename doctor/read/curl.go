package read

import "strings"

// shortFlags are those of curl's that rules look at, with their long names.
var shortFlags = map[string]string{"-x": "proxy", "-p": "proxytunnel", "-k": "insecure", "-U": "proxy-user"}

// Curl reads a curlrc: one option a line, with or without its dashes, and its value behind a blank, = or :, which may be
// quoted.
func Curl(data []byte) []Entry {
	var found []Entry
	lines(data, func(n int, line string) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || len(found) >= maxEntries {
			return
		}
		if long, ok := shortFlags[line[:min(2, len(line))]]; ok {
			line = long + " " + line[2:]
		}
		line = strings.TrimLeft(line, "-")
		key, value := line, ""
		if i := strings.IndexAny(line, " \t=:"); i >= 0 {
			key, value = line[:i], strings.TrimLeft(line[i:], " \t=:")
		}
		if strings.HasPrefix(value, `"`) {
			value, _, _ = strings.Cut(value[1:], `"`)
		} else if i := strings.IndexAny(value, " \t"); i >= 0 {
			value = value[:i]
		}
		found = append(found, Entry{Key: strings.ToLower(key), Value: value, Line: n})
	})
	return found
}
