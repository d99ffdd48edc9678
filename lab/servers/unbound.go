package servers

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// Unbound starts unbound as a resolver for DNS over TLS (port 853) and HTTPS (port 443, /dns-query). It asks forward
// for everything.
func Unbound(t testing.TB, h *internet.Host, cert tls.Certificate, forward netip.AddrPort) *internet.Process {
	t.Helper()
	return unbound(t, h, cert, "", fmt.Sprintf("forward-addr: %s@%d", forward.Addr(), forward.Port()))
}

// UnboundOverTLS is Unbound that asks over TLS.
func UnboundOverTLS(t testing.TB, h *internet.Host, cert tls.Certificate, to Forward) *internet.Process {
	t.Helper()
	return unbound(t, h, cert, fmt.Sprintf("  tls-cert-bundle: %q\n", to.CA),
		fmt.Sprintf("forward-tls-upstream: yes\n  forward-addr: %s@%d#%s", to.Addr, to.Port, to.Name))
}

func unbound(t testing.TB, h *internet.Host, cert tls.Certificate, more, forward string) *internet.Process {
	t.Helper()
	c := certified(t, cert)
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  do-daemonize: no
  use-syslog: no
  logfile: ""
  verbosity: 1
  username: ""
  chroot: ""
  pidfile: ""
  directory: %q
  num-threads: 1
  module-config: "iterator"
  tls-service-pem: %q
  tls-service-key: %q
  tls-port: %d
  https-port: %d
  http-endpoint: "/dns-query"
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  do-not-query-localhost: no
`, c.dir, c.cert, c.key, PortDoT, PortHTTPS)
	for _, a := range wildcards(h) {
		fmt.Fprintf(&b, "  interface: %s@%d\n  interface: %s@%d\n", a, PortDoT, a, PortHTTPS)
	}
	fmt.Fprintf(&b, "%sremote-control:\n  control-enable: no\nforward-zone:\n  name: \".\"\n  %s\n", more, forward)
	conf := write(t, c.dir, "unbound.conf", b.String())
	return server{binary: "unbound", dir: c.dir, args: []string{"-d", "-p", "-c", conf}, port: PortDoT}.start(t, h)
}
