package env

import (
	"strings"

	"watertight/doctor"
)

var malformed = doctor.Rule{
	ID: "ENV-MALFORMED", Severity: doctor.Critical,
	Title:   "a proxy variable that some clients cannot read, and go past",
	Clients: []string{"Go net/http", "grpcio, grpc-js", "reqwest", "deno", "Node with NODE_USE_ENV_PROXY", "axios"},
	Explain: `Clients fail open on a proxy URL that they dislike: they connect directly, after a look-up in the clear, and say nothing.
Measured: Go's net/http drops a URL that it cannot parse, such as one with %zz in it; reqwest 0.11 and Deno do the same.
grpcio 1.51 goes direct with a URL that has no scheme, with https:// or socks5://, and with a %40 in the password; grpc-js 1.14
with https:// and socks. Node 24 refuses to start without a scheme, axios 1.21 sends a %40 as it is, so that the proxy refuses it.
curl, requests and bun refuse a malformed URL, which is what all of them should do.
http:// with an address, a port and no credentials is read alike by every client measured.`,
	Find: doctor.InScopes(func(h *doctor.Host, s doctor.Scope) []doctor.Finding {
		var found []doctor.Finding
		for _, v := range append(s.Proxies(), npm(s)...) {
			why, who := dislike(h, v.Value)
			if why == "" {
				continue
			}
			f := doctor.Finding{
				Fact:     v.Name + " is " + doctor.Mask(v.Value) + ": " + why,
				Evidence: []string{v.String()},
				Clients:  who,
				Fix:      v.Name + "=" + h.ProxyURL(),
			}
			if u, bad := doctor.ReadProxyURL(v.Value); bad == "" && u.Scheme == "" && !u.HasUser && u.Port != "" {
				f.Fix = v.Name + "=http://" + doctor.Quote(strings.TrimSpace(v.Value))
				if file, ok := h.Files.Read(v.File); ok {
					f.Change = replaceValue(file, v, "http://"+strings.TrimSpace(v.Value))
				}
			}
			found = append(found, f)
		}
		return found
	}),
}

// dislike says why some clients go past a proxy, and which; nothing where none does.
func dislike(h *doctor.Host, value string) (why string, who []string) {
	u, bad := doctor.ReadProxyURL(value)
	switch {
	case bad != "":
		return bad, []string{"Go net/http", "reqwest", "deno", "grpcio"}
	case u.Scheme == "":
		return "it has no scheme", []string{"grpcio (goes direct)", "Node with NODE_USE_ENV_PROXY, axios (fail)"}
	case strings.Contains(u.User+u.Password, "%"):
		return "its user or password has escapes in it", []string{"grpcio (goes direct)", "axios (sends them as they are)"}
	case local(u): // that is said already
		return "", nil
	case (u.Scheme == "https" || u.SOCKS()) && hasGRPC(h):
		return "gRPC for Python and Node, which this host has, goes past a proxy with " + u.Scheme + "://", []string{"grpcio", "grpc-js"}
	case u.Scheme != "http" && u.Scheme != "https" && !u.SOCKS():
		return "its scheme " + u.Scheme + ":// is none of a proxy", []string{"Go net/http", "grpcio, grpc-js", "reqwest"}
	}
	return "", nil
}

// hasGRPC says whether a gRPC library that reads the variables in its own way is installed.
func hasGRPC(h *doctor.Host) bool {
	places := []string{
		"/usr/lib/python3/dist-packages/grpc", "/usr/lib/python3*/site-packages/grpc", "/usr/local/lib/python3*/*-packages/grpc", "/usr/lib64/python3*/site-packages/grpc",
		"/opt/*/lib/python3*/site-packages/grpc", "/usr/lib/node_modules/@grpc/grpc-js", "/usr/local/lib/node_modules/@grpc/grpc-js",
	}
	for _, home := range h.Homes {
		places = append(places, home.Path+"/.local/lib/python3*/site-packages/grpc", home.Path+"/node_modules/@grpc/grpc-js")
	}
	for _, p := range places {
		if len(h.Files.Glob(p)) > 0 {
			return true
		}
	}
	return false
}
