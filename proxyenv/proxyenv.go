// Package proxyenv is the one safe set of environment variables for clients of the proxy.
//
// Clients disagree about proxy variables, and many of them connect directly when a value is not to their liking: the
// set is therefore written in both cases, with a plain http:// URL of an address and a port, without credentials,
// and with the one NO_PROXY that all of them read alike. It never contains a socks URL: several clients resolve
// names themselves when they see one.
package proxyenv

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Var is one variable.
type Var struct{ Name, Value string }

// noProxy is what every client measured reads alike; loopback must be listed because most clients would proxy it.
const noProxy = "localhost,127.0.0.1,::1"

// Vars gives the variables for a proxy that listens on at. An address that stands for all interfaces is reached on
// loopback.
func Vars(at netip.AddrPort) []Var {
	at = Reachable(at)
	url := "http://" + at.String()
	var vars []Var
	for _, n := range []string{"http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy"} {
		vars = append(vars, Var{n, url})
	}
	for _, n := range []string{"no_proxy", "NO_PROXY", "no_grpc_proxy"} {
		vars = append(vars, Var{n, noProxy})
	}
	host := at.Addr().String()
	if at.Addr().Is6() {
		host = "[" + host + "]"
	}
	java := fmt.Sprintf("-Dhttp.proxyHost=%[1]s -Dhttp.proxyPort=%[2]d -Dhttps.proxyHost=%[1]s -Dhttps.proxyPort=%[2]d "+
		"-Dhttp.nonProxyHosts=localhost|127.*|[::1]", host, at.Port())
	return append(vars,
		Var{"NODE_USE_ENV_PROXY", "1"}, // Node 22.21 and later; earlier ones ignore every variable
		Var{"npm_config_proxy", url},
		Var{"npm_config_https_proxy", url},
		Var{"JAVA_TOOL_OPTIONS", java})
}

// Reachable gives the address at which a client of this host reaches a listener.
func Reachable(at netip.AddrPort) netip.AddrPort {
	switch {
	case !at.Addr().IsUnspecified():
		return at
	case at.Addr().Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	default:
		return netip.AddrPortFrom(netip.IPv6Loopback(), at.Port())
	}
}

// Shell is a syntax in which variables are set.
type Shell string

// The shells.
const (
	Sh         Shell = "sh"
	Fish       Shell = "fish"
	PowerShell Shell = "powershell"
)

// Write prints the lines to evaluate in a shell; bash, zsh, dash and ksh read those of sh. The error is for a shell
// that is not known, or the writer's.
func Write(w io.Writer, shell Shell, vars []Var) error {
	for _, v := range vars {
		var err error
		switch shell {
		case Sh, "bash", "zsh", "dash", "ksh":
			_, err = fmt.Fprintf(w, "export %s='%s'\n", v.Name, strings.ReplaceAll(v.Value, "'", `'\''`))
		case Fish:
			_, err = fmt.Fprintf(w, "set -gx %s '%s'\n", v.Name, strings.ReplaceAll(strings.ReplaceAll(v.Value, `\`, `\\`), "'", `\'`))
		case PowerShell:
			_, err = fmt.Fprintf(w, "$env:%s = '%s'\n", v.Name, strings.ReplaceAll(v.Value, "'", "''"))
		default:
			return fmt.Errorf("unknown shell %q: use sh (for bash and zsh too), fish or powershell", shell)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
