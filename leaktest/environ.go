package leaktest

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// does is what a client does with a proxy of a scheme.
type does int

const (
	unknown does = iota // nobody has looked
	unread              // it takes no notice, and connects by itself
	named               // it gives the name to the proxy
	locally             // it looks the name up first
	fails               // it says so, and connects to nobody
)

// reader is how a client reads the variables for an https:// URL, as it was measured.
type reader struct {
	client string
	reads  []string // in its order
	http   does
	https  does // the proxy itself over TLS
	socks5 does
	hosted does   // socks5h
	socks4 does   // socks4a
	bare   does   // no scheme
	broken does   // no URL at all
	star   bool   // NO_PROXY=* means everything
	guess  bool   // whether it reads all_proxy nobody has looked
	only   string // a variable that has to be 1, else it reads none
}

// Names in the order in which most clients read them.
var (
	both    = []string{"https_proxy", "HTTPS_PROXY"}
	andAll  = []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}
	ofGRPC  = []string{"grpc_proxy", "https_proxy", "http_proxy"}
	ofWget  = []string{"https_proxy"}
	readers = []reader{
		{"curl, PHP", andAll, named, named, locally, named, named, unknown, fails, true, false, ""},
		{"git", andAll, named, unknown, locally, named, named, unknown, unknown, true, true, ""},
		{"cargo", andAll, named, unknown, locally, named, named, unknown, unknown, false, true, ""},
		{"wget", ofWget, named, unknown, fails, fails, fails, unknown, unknown, false, false, ""},
		{"Python requests", andAll, named, unknown, locally, named, named, named, fails, true, false, ""},
		{"pip", andAll, named, unknown, unknown, unknown, unknown, unknown, unknown, false, true, ""},
		{"Python httpx", andAll, named, unknown, named, fails, unknown, unknown, unknown, true, false, ""},
		{"Python aiohttp (trust_env)", both, named, unknown, fails, fails, unknown, unknown, unknown, true, false, ""},
		{"Python urllib", both, named, unknown, unknown, unknown, unknown, unknown, unknown, true, false, ""},
		{"Go", both, named, named, named, named, fails, named, unread, true, false, ""},
		{"gRPC (Go)", both, named, fails, fails, fails, unknown, unknown, unknown, true, false, ""},
		{"gRPC (C++, Python)", ofGRPC, named, unread, unread, unread, unknown, unread, unknown, false, false, ""},
		{"gRPC (JavaScript)", ofGRPC, named, unread, unread, unread, unknown, unknown, unknown, false, false, ""},
		{"axios", andAll, named, unknown, fails, unknown, unknown, fails, unknown, true, false, ""},
		{"Node fetch and https", both, named, unknown, unread, unread, unknown, fails, unknown, true, false, "NODE_USE_ENV_PROXY"},
		{"undici (EnvHttpProxyAgent)", both, named, unknown, unknown, unknown, unknown, unknown, unknown, true, false, ""},
		{"Bun (fetch)", andAll, named, unknown, fails, fails, unknown, unknown, fails, true, true, ""},
		{"Rust reqwest", both, named, unknown, locally, unknown, unknown, named, unread, true, false, ""},
	}
)

// proxyVariables are those that say whether anybody wants a proxy at all.
var proxyVariables = []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy"}

// tryEnvironment reads the variables as clients do.
func tryEnvironment(_ context.Context, r *run, f *findings) {
	if r.o.Environ == nil {
		f.skip("there is no environment of clients here")
		return
	}
	var at []netip.AddrPort
	for _, d := range r.doors {
		if d.Kind == DoorProxy {
			at = append(at, d.Address)
		}
	}
	readEnvironment(r.o.Environ, at, f)
}

// EnvironmentCase is the case ENVIRONMENT by itself, for an environment that is not that of the program under test: that
// of whoever asks for the test. doors are the proxy's listeners, as they are reached.
func EnvironmentCase(environ []string, doors []netip.AddrPort) Case {
	var f findings
	readEnvironment(environ, doors, &f)
	for _, d := range definitions() {
		if d.ID == "ENVIRONMENT" {
			return f.conclude(d)
		}
	}
	return Case{}
}

func readEnvironment(environ []string, doors []netip.AddrPort, f *findings) {
	env := map[string]string{}
	for _, line := range environ {
		k, v, _ := strings.Cut(line, "=")
		env[k] = v
	}
	set := slices.DeleteFunc(slices.Clone(proxyVariables), func(name string) bool { return env[name] == "" })
	if len(set) == 0 {
		f.skip("no proxy variables are set here: clients that read them go to no proxy")
		return
	}
	if !slices.ContainsFunc(set, func(name string) bool { return pointsAt(env[name], doors) }) {
		f.skip("the proxy variables that are set here (%s) lead to another proxy", strings.Join(set, ", "))
		return
	}
	for _, c := range readers {
		if c.only == "" || env[c.only] == "1" {
			c.judge(env, doors, f)
		}
	}
	if env["NODE_USE_ENV_PROXY"] != "1" {
		f.note("Node reads none of them without NODE_USE_ENV_PROXY=1")
	}
	if !strings.Contains(env["JAVA_TOOL_OPTIONS"], "https.proxyHost") {
		f.note("Java reads none of them, but JAVA_TOOL_OPTIONS")
	}
	f.note("Deno and Ruby (Net::HTTP) look each name up beside the proxy, whatever is set")
}

// judge says what a client makes of an environment. Values are not shown: they may hold a password.
func (c reader) judge(env map[string]string, doors []netip.AddrPort, f *findings) {
	variable := ""
	for _, name := range c.reads {
		if env[name] != "" {
			variable = name
			break
		}
	}
	if variable == "" {
		f.leak("H1", "", "%s: reads none of the variables that are set, and connects by itself: it reads %s", c.client, strings.Join(c.reads, ", "))
		return
	}
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		if c.star && slices.Contains(strings.Split(strings.ReplaceAll(env[name], " ", ""), ","), "*") {
			f.leak("H1", "", "%s: %s has a *, so that it goes to no proxy at all", c.client, name)
			return
		}
	}
	if c.guess && strings.EqualFold(variable, "all_proxy") {
		return
	}
	scheme, what := c.reading(env[variable])
	switch {
	case what == unknown:
	case what == unread:
		f.leak("H1", "", "%s: does not understand %s (%s), and connects by itself", c.client, variable, scheme)
	case what == locally:
		f.leak("H1", "", "%s: looks names up by itself where %s has %s", c.client, variable, scheme)
	case what == fails:
		f.held("%s: does not understand %s (%s), and says so", c.client, variable, scheme)
	case !pointsAt(env[variable], doors):
		f.leak("H1", "", "%s: %s leads it to another proxy than the rest", c.client, variable)
	default:
		f.held("%s: gives names to the proxy, by %s", c.client, variable)
	}
}

// reading gives the scheme of a value, for people, and what the client does with it.
func (c reader) reading(value string) (scheme string, what does) {
	scheme, rest, ok := strings.Cut(value, "://")
	if !ok {
		return "no scheme", c.bare
	}
	scheme = strings.ToLower(scheme)
	if _, err := url.Parse(value); err != nil {
		return "no valid URL", c.broken
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 && strings.Contains(rest[:i], "%") && strings.HasPrefix(c.client, "gRPC (C++") {
		return "an escape in its password", unread
	}
	switch scheme {
	case "http":
		return scheme, c.http
	case "https":
		return scheme, c.https
	case "socks5", "socks":
		return scheme, c.socks5
	case "socks4": // it has no room for a name
		if c.socks4 == named {
			return scheme, locally
		}
		return scheme, c.socks4
	case "socks5h":
		return scheme, c.hosted
	case "socks4a":
		return scheme, c.socks4
	}
	return "a scheme that is none of a proxy", unknown
}

// pointsAt says whether the URL of a proxy leads to one of our doors.
func pointsAt(value string, doors []netip.AddrPort) bool {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil {
		return false
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return false
	}
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	return slices.ContainsFunc(doors, func(d netip.AddrPort) bool {
		if d.Port() != uint16(port) {
			return false
		}
		if err != nil {
			return host == "localhost" && (d.Addr().IsLoopback() || d.Addr().IsUnspecified())
		}
		return addr.Unmap() == d.Addr().Unmap() || d.Addr().IsUnspecified() && addr.IsLoopback()
	})
}
