package servers

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// KnotResolver starts Knot Resolver for DNS over TLS (port 853) and HTTPS (port 443, /dns-query). It asks forward for
// everything.
func KnotResolver(t testing.TB, h *internet.Host, cert tls.Certificate, forward netip.AddrPort) *internet.Process {
	t.Helper()
	return knotResolver(t, h, cert, fmt.Sprintf("policy.FORWARD({'%s@%d'})", forward.Addr(), forward.Port()))
}

// KnotResolverOverTLS is KnotResolver that asks over TLS.
func KnotResolverOverTLS(t testing.TB, h *internet.Host, cert tls.Certificate, to Forward) *internet.Process {
	t.Helper()
	return knotResolver(t, h, cert, fmt.Sprintf("policy.TLS_FORWARD({{'%s@%d', hostname='%s', ca_file='%s'}})", to.Addr, to.Port, to.Name, to.CA))
}

func knotResolver(t testing.TB, h *internet.Host, cert tls.Certificate, forward string) *internet.Process {
	t.Helper()
	c := certified(t, cert)
	var b strings.Builder
	for _, a := range wildcards(h) {
		fmt.Fprintf(&b, "net.listen('%s', %d, { kind = 'tls', freebind = true })\n", a, PortDoT)
		fmt.Fprintf(&b, "net.listen('%s', %d, { kind = 'doh2', freebind = true })\n", a, PortHTTPS)
	}
	fmt.Fprintf(&b, `net.tls('%s', '%s')
trust_anchors.remove('.')
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
modules.unload('detect_time_skew')
cache.size = 4 * MB
policy.add(policy.all(%s))
`, c.cert, c.key, forward)
	conf := write(t, c.dir, "kresd.conf", b.String())
	return server{binary: "kresd", dir: c.dir, args: []string{"-n", "-c", conf, c.dir}, port: PortDoT}.start(t, h)
}
