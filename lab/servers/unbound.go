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
`, c.dir, c.cert, c.key, PortDoT, PortHTTPS)
	for _, a := range wildcards(h) {
		fmt.Fprintf(&b, "  interface: %s@%d\n  interface: %s@%d\n", a, PortDoT, a, PortHTTPS)
	}
	fmt.Fprintf(&b, "remote-control:\n  control-enable: no\nforward-zone:\n  name: \".\"\n  forward-addr: %s@%d\n", forward.Addr(), forward.Port())
	conf := write(t, c.dir, "unbound.conf", b.String())
	return server{binary: "unbound", dir: c.dir, args: []string{"-d", "-p", "-c", conf}, port: PortDoT}.start(t, h)
}
