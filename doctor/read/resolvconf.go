package read

import (
	"net/netip"
	"strconv"
	"strings"
)

// Resolv is a resolv.conf as glibc reads it: resolv.conf(5).
type Resolv struct {
	Servers []Server
	Search  []Word // the search list in force: the last `search` or `domain` line wins
	Ndots   int    // 1 unless an option says otherwise; glibc takes at most 15
	NdotsAt int    // the option's line, 0 where there is none
	Options []Word // all options as written
}

// Server is a nameserver line.
type Server struct {
	Addr netip.Addr
	Line int
}

// glibc's own limit is 3 servers; others read more, and what is beyond is shown all the same. A longer file is not one of a resolver.
const maxServers = 64

// ParseResolv reads a resolv.conf. Lines that glibc would not understand are left out, as it leaves them out.
func ParseResolv(b []byte) Resolv {
	r := Resolv{Ndots: 1}
	lines(b, func(n int, line string) {
		// glibc wants the keyword in the first column, and takes # and ; as comments only there.
		if line == "" || line[0] == '#' || line[0] == ';' {
			return
		}
		key, rest, ok := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		if !ok {
			return
		}
		words := strings.Fields(rest)
		if len(words) == 0 {
			return
		}
		switch key {
		case "nameserver":
			if addr, err := netip.ParseAddr(words[0]); err == nil && len(r.Servers) < maxServers {
				r.Servers = append(r.Servers, Server{addr.Unmap(), n})
			}
		case "search", "domain":
			r.Search = nil
			if key == "domain" {
				words = words[:1]
			}
			for _, w := range words[:min(len(words), maxServers)] {
				if w = strings.TrimSuffix(w, "."); w != "" { // "search ." means that nothing is appended
					r.Search = append(r.Search, Word{w, n})
				}
			}
		case "options":
			r.options(words, n)
		}
	})
	return r
}

// options reads the words of an `options` line.
func (r *Resolv) options(words []string, line int) {
	for _, w := range words {
		if len(r.Options) < maxServers {
			r.Options = append(r.Options, Word{w, line})
		}
		if v, ok := strings.CutPrefix(w, "ndots:"); ok {
			if n, err := strconv.Atoi(v); err == nil && n >= 0 {
				r.Ndots, r.NdotsAt = min(n, 15), line
			}
		}
	}
}
