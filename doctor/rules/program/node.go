package program

import (
	"regexp"
	"strconv"
	"strings"

	"watertight/doctor"
)

// sdkHint is what to do for libraries that have an agent of their own.
const sdkHint = "# or, for any of them: watertight exec -- node …   (openai, @anthropic-ai/sdk: a base URL of the gateway; aws-sdk, ws: an agent)"

var nodeEnv = doctor.Rule{
	ID: "NODE-ENV", Severity: doctor.High,
	Title:   "Node is told of a proxy and not told to use it",
	Clients: []string{"Node's fetch and https", "openai, @anthropic-ai/sdk, aws-sdk v3, got, ws, superagent"},
	Explain: `Measured: fetch and https of Node 20, and of Node 24 without a flag, ignore HTTPS_PROXY and go direct, with a look-up in the
clear; so do the SDKs of OpenAI (6.49) and Anthropic (1.12, "expected behavior", anthropic-sdk-typescript#828), got, superagent and
ws. With NODE_USE_ENV_PROXY=1 or --use-env-proxy, which Node has since 22.21 and 24.5, fetch, https, WebSocket and the OpenAI SDK are
clean; aws-sdk v3 and ws are not, for they have an agent of their own, and ALL_PROXY is ignored. axios reads the variables by itself,
but not with adapter 'fetch'. npm and newman are clean.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, p := range running(h, "node", "nodejs") {
			told, ok := proxyOf(p)
			if !ok || tellsNode(p.Env) || strings.Contains(strings.Join(p.Args, " "), "--use-env-proxy") && !old(p.Exe) {
				continue
			}
			f := doctor.Finding{Fact: "Node runs with proxy variables that it ignores", Evidence: []string{p.String() + ": " + told}, Fix: "NODE_USE_ENV_PROXY=1   # in its environment\n" + sdkHint}
			if old(p.Exe) {
				f.Fix = "# install Node 24, or 22.21 or later, and set NODE_USE_ENV_PROXY=1\n" + sdkHint
			}
			found = append(found, f)
		}
		s, told, ok := proxied(h)
		if where := installed(h, []string{"node", "nodejs"}, ".nvm/versions/node/*/bin/node", ".local/bin/node", ".volta/bin/node"); ok && len(where) > 0 {
			var without []string
			if v, set := s.Get("NODE_USE_ENV_PROXY"); !set || v.Value != "1" {
				if o, _ := s.Get("NODE_OPTIONS"); !strings.Contains(o.Value, "--use-env-proxy") {
					without = where
				}
			}
			for _, w := range where {
				if old(w) && without == nil {
					without = append(without, w)
				}
			}
			if len(without) > 0 {
				evidence := append([]string{told.String()}, without...)
				found = append(found, doctor.Finding{
					Severity: doctor.Medium, Fact: "Node is installed, and will ignore the proxy variables that are set", Evidence: evidence,
					Fix: "export NODE_USE_ENV_PROXY=1   # Node 22.21, 24 and later; `watertight env` prints it\n" + sdkHint,
				})
			}
		}
		return doctor.Merge(found)
	},
}

// tellsNode says whether an environment makes Node use the variables.
func tellsNode(env func(string) (string, bool)) bool {
	v, _ := env("NODE_USE_ENV_PROXY")
	o, _ := env("NODE_OPTIONS")
	return v == "1" || strings.Contains(o, "--use-env-proxy")
}

var nodeVersion = regexp.MustCompile(`/v?(\d+)\.(\d+)\.\d+(?:/|$)`)

// old says whether the path of a program tells a version that has no such flag; nvm has the version in its paths.
func old(exe string) bool {
	m := nodeVersion.FindStringSubmatch(exe)
	if m == nil {
		return false
	}
	major, err := strconv.Atoi(m[1])
	minor, err2 := strconv.Atoi(m[2])
	return err == nil && err2 == nil && (major < 22 || major == 22 && minor < 21)
}
