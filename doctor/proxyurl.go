package doctor

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// ProxyURL is a proxy as a setting of a client names it.
type ProxyURL struct {
	Scheme         string // in lower case; empty where the setting has none
	User, Password string // as written, still escaped
	HasUser        bool
	Host           string // without brackets
	Port           string // empty where none is written
}

// ReadProxyURL takes a setting apart, as lenient clients do. Why says what strict ones will not read; empty for nothing.
func ReadProxyURL(s string) (u ProxyURL, why string) {
	s = strings.TrimSpace(s)
	rest := s
	if scheme, after, ok := strings.Cut(s, "://"); ok {
		u.Scheme, rest = strings.ToLower(scheme), after
	}
	rest, _, _ = strings.Cut(rest, "/")
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		u.User, u.Password, _ = strings.Cut(rest[:i], ":")
		u.HasUser, rest = true, rest[i+1:]
	}
	u.Host, u.Port = rest, ""
	if strings.HasPrefix(rest, "[") {
		if host, port, ok := strings.Cut(rest[1:], "]"); ok {
			u.Host, u.Port = host, strings.TrimPrefix(port, ":")
		}
	} else if i := strings.LastIndex(rest, ":"); i >= 0 {
		u.Host, u.Port = rest[:i], rest[i+1:]
	}
	switch {
	case strings.ContainsAny(s, " \t\"'"):
		return u, "it has blanks or quotation marks in it"
	case u.Scheme == "":
		if _, err := url.Parse("http://" + s); err != nil {
			return u, "it cannot be read as a URL"
		}
	default:
		if _, err := url.Parse(s); err != nil {
			return u, "it cannot be read as a URL"
		}
	}
	if u.Host == "" {
		return u, "it has no host"
	}
	if n, err := strconv.ParseUint(u.Port, 10, 16); u.Port != "" && (err != nil || n == 0) {
		return u, "its port is none"
	}
	return u, ""
}

// SOCKS says whether it speaks SOCKS, of whatever kind.
func (u ProxyURL) SOCKS() bool { return strings.HasPrefix(u.Scheme, "socks") }

// Local says whether clients that see it resolve names by themselves: socks5:// and socks4:// in curl, git, requests, npm
// and Java, where socks5h:// and socks4a:// are the proxy's.
func (u ProxyURL) Local() bool { return u.Scheme == "socks5" || u.Scheme == "socks4" }

// HTTP is the same address as a URL that leaves names to the proxy in every client: our listeners take HTTP and SOCKS alike.
func (u ProxyURL) HTTP() string { return "http://" + net.JoinHostPort(u.Host, u.Port) }

// Is says whether it leads to an address of ours. Loopback has two names that need no look-up.
func (u ProxyURL) Is(all []netip.AddrPort) bool {
	port, err := strconv.ParseUint(u.Port, 10, 16)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(u.Host)
	named := err != nil && strings.EqualFold(u.Host, "localhost")
	for _, at := range all {
		if at.Port() != uint16(port) {
			continue
		}
		if named && (at.Addr().IsLoopback() || at.Addr().IsUnspecified()) || err == nil && (at.Addr() == addr || at.Addr().IsUnspecified() && addr.IsLoopback()) {
			return true
		}
	}
	return false
}

// Named says whether the host is a name that has to be looked up.
func (u ProxyURL) Named() bool {
	_, err := netip.ParseAddr(u.Host)
	return err != nil && u.Host != "" && !strings.EqualFold(u.Host, "localhost")
}
