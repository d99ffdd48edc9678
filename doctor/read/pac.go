package read

import (
	"regexp"
	"strings"
)

// PACUse is something in a PAC script that makes names leak.
type PACUse struct {
	What string // the function that asks DNS, DIRECT, or SOCKS
	Line int
	Text string // the line
}

var (
	pacCall   = regexp.MustCompile(`\b(isInNet|isInNetEx|dnsResolve|dnsResolveEx|isResolvable|isResolvableEx)\s*\(`)
	pacLit    = regexp.MustCompile(`\bisInNet(?:Ex)?\s*\(\s*["'0-9]`)
	pacResult = regexp.MustCompile(`["'][^"'\n]*\b(DIRECT|SOCKS4?)\b[^"'\n]*["']`)
)

// PAC finds, in a proxy auto-configuration script, what asks DNS for every host and what goes past the proxy. It looks at the
// text: remarks are left out, and what a script makes of strings is not seen.
func PAC(data []byte) []PACUse {
	var found []PACUse
	remark := false
	lines(data, func(n int, line string) {
		code := line
		if remark {
			_, after, ended := strings.Cut(code, "*/")
			if !ended {
				return
			}
			code, remark = after, false
		}
		for {
			before, rest, ok := strings.Cut(code, "/*")
			if !ok {
				break
			}
			_, after, ended := strings.Cut(rest, "*/")
			code = before + " " + after
			if !ended {
				remark = true
			}
		}
		if i := strings.Index(code, "//"); i >= 0 && !strings.HasSuffix(code[:i], ":") {
			code = code[:i]
		}
		add := func(what string) {
			if len(found) < maxEntries {
				found = append(found, PACUse{what, n, strings.TrimSpace(line)})
			}
		}
		for _, m := range pacCall.FindAllStringSubmatch(code, -1) {
			if !strings.HasPrefix(m[1], "isInNet") || !pacLit.MatchString(code) {
				add(m[1])
			}
		}
		for _, m := range pacResult.FindAllStringSubmatch(code, -1) {
			add(m[1])
		}
	})
	return found
}
