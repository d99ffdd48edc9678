package servers

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// DNSDist starts dnsdist in front of a plaintext server, for DNS over TLS (port 853) and HTTPS (port 443, /dns-query).
func DNSDist(t testing.TB, h *internet.Host, cert tls.Certificate, backend netip.AddrPort) *internet.Process {
	t.Helper()
	return dnsdist(t, h, cert, fmt.Sprintf("address='%s', tcpOnly=true", backend)) // a datagram may have no room for an answer
}

// DNSDistOverTLS is DNSDist in front of a server of DNS over TLS.
func DNSDistOverTLS(t testing.TB, h *internet.Host, cert tls.Certificate, to Forward) *internet.Process {
	t.Helper()
	return dnsdist(t, h, cert, fmt.Sprintf("address='%s:%d', tls='openssl', subjectName='%s', caStore='%s', validateCertificates=true", to.Addr, to.Port, to.Name, to.CA))
}

func dnsdist(t testing.TB, h *internet.Host, cert tls.Certificate, backend string) *internet.Process {
	t.Helper()
	c := certified(t, cert)
	var b strings.Builder
	b.WriteString("setSecurityPollSuffix('')\nsetLocal('127.0.0.1:5300')\nsetACL({'0.0.0.0/0', '::/0'})\n")
	for _, a := range wildcards(h) {
		fmt.Fprintf(&b, "addTLSLocal('%s', '%s', '%s')\n", netip.AddrPortFrom(a, PortDoT), c.cert, c.key)
		fmt.Fprintf(&b, "addDOHLocal('%s', '%s', '%s', '/dns-query')\n", netip.AddrPortFrom(a, PortHTTPS), c.cert, c.key)
	}
	fmt.Fprintf(&b, "newServer({%s}):setUp()\n", backend)
	conf := write(t, c.dir, "dnsdist.conf", b.String())
	return server{binary: "dnsdist", dir: c.dir, args: []string{"--supervised", "--disable-syslog", "-C", conf}, port: PortDoT}.start(t, h)
}
