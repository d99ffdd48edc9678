package servers

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// DNSDist starts dnsdist in front of a plaintext server, for DNS over TLS (port 853) and HTTPS (port 443, /dns-query).
func DNSDist(t testing.TB, h *internet.Host, cert tls.Certificate, backend netip.AddrPort) *internet.Process {
	t.Helper()
	certificate, key := CertFiles(t, cert)
	d := dir(t, map[string]string{"cert.pem": certificate, "key.pem": key})
	certPath, keyPath := filepath.Join(d, "cert.pem"), filepath.Join(d, "key.pem")
	var b strings.Builder
	b.WriteString("setSecurityPollSuffix('')\nsetLocal('127.0.0.1:5300')\nsetACL({'0.0.0.0/0', '::/0'})\n")
	for _, a := range wildcards(h) {
		fmt.Fprintf(&b, "addTLSLocal('%s', '%s', '%s')\n", netip.AddrPortFrom(a, PortDoT), certPath, keyPath)
		fmt.Fprintf(&b, "addDOHLocal('%s', '%s', '%s', '/dns-query')\n", netip.AddrPortFrom(a, PortHTTPS), certPath, keyPath)
	}
	fmt.Fprintf(&b, "newServer({address='%s'}):setUp()\n", backend)
	conf := write(t, d, "dnsdist.conf", b.String())
	return server{binary: "dnsdist", dir: d, args: []string{"--supervised", "--disable-syslog", "-C", conf}, port: PortDoT}.start(t, h)
}
