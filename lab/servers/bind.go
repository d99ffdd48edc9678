package servers

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// BIND starts named as a resolver for DNS over TLS (port 853) and HTTPS (port 443, /dns-query), with TLS 1.3 alone. It
// asks forward for everything.
func BIND(t testing.TB, h *internet.Host, cert tls.Certificate, forward netip.AddrPort) *internet.Process {
	t.Helper()
	return bind(t, h, cert, forward, "TLSv1.3")
}

// OldBIND is BIND with TLS 1.2 alone.
func OldBIND(t testing.TB, h *internet.Host, cert tls.Certificate, forward netip.AddrPort) *internet.Process {
	t.Helper()
	return bind(t, h, cert, forward, "TLSv1.2")
}

func bind(t testing.TB, h *internet.Host, cert tls.Certificate, forward netip.AddrPort, version string) *internet.Process {
	t.Helper()
	c := certified(t, cert)
	listen := func(option string, on bool) string {
		if !on {
			return fmt.Sprintf("  %s { none; };\n", option)
		}
		return fmt.Sprintf("  %[1]s port %[2]d tls lab { any; };\n  %[1]s port %[3]d tls lab http lab { any; };\n", option, PortDoT, PortHTTPS)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `tls lab { cert-file %q; key-file %q; protocols { %s; }; };
http lab { endpoints { "/dns-query"; }; };
controls { };
options {
  directory %q;
  pid-file none;
  lock-file none;
  session-keyfile none;
  recursion yes;
  allow-query { any; };
  allow-recursion { any; };
  forward only;
  forwarders { %s port %d; };
  dnssec-validation no;
  empty-zones-enable no;
  prefetch 0;
  max-cache-size 16M;
`, c.cert, c.key, version, c.dir, forward.Addr(), forward.Port())
	b.WriteString(listen("listen-on", h.Addr4.IsValid()))
	b.WriteString(listen("listen-on-v6", h.Addr6.IsValid()))
	b.WriteString("};\n")
	conf := write(t, c.dir, "named.conf", b.String())
	return server{binary: "named", dir: c.dir, args: []string{"-g", "-n", "1", "-c", conf}, port: PortDoT}.start(t, h)
}
