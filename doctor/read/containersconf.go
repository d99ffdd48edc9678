package read

import "strings"

// Containers is what a containers.conf says about names: containers.conf(5), of Podman and Buildah.
type Containers struct {
	DNSServers []Word // dns_servers of [containers]
	HTTPProxy  bool   // http_proxy of [containers]: the host's proxy variables are passed on. It is true unless written otherwise
}

// ParseContainers reads the two keys out of the TOML of a containers.conf: sections, keys, strings and arrays of strings. What else TOML
// allows, as dotted keys and strings of several lines, is not looked into.
func ParseContainers(b []byte) Containers {
	c := Containers{HTTPProxy: true}
	var section string
	inServers := false
	lines(b, func(n int, line string) {
		line = strings.TrimSpace(uncomment(line))
		if inServers {
			inServers = c.servers(line, n)
			return
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = strings.TrimSpace(strings.Trim(line, "[]"))
			return
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "containers" {
			return
		}
		value = strings.TrimSpace(value)
		switch strings.Trim(strings.TrimSpace(key), `"'`) {
		case "http_proxy":
			c.HTTPProxy = value != "false"
		case "dns_servers":
			c.DNSServers = nil
			if rest, ok := strings.CutPrefix(value, "["); ok {
				inServers = c.servers(rest, n)
			}
		}
	})
	return c
}

// servers takes the strings of one line of an array, and tells whether the array goes on.
func (c *Containers) servers(line string, n int) (more bool) {
	items, _, closed := strings.Cut(line, "]")
	for _, item := range strings.Split(items, ",") {
		if item = unquote(strings.TrimSpace(item)); item != "" && len(c.DNSServers) < maxServers {
			c.DNSServers = append(c.DNSServers, Word{item, n})
		}
	}
	return !closed
}

// uncomment takes a comment away, but not a # within quotes.
func uncomment(line string) string {
	var quote byte
	for i := range len(line) {
		switch c := line[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '#':
			return line[:i]
		}
	}
	return line
}
