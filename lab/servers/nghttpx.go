package servers

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"testing"

	"watertight/lab/internet"
)

// Nghttpx starts nghttpx as a forward proxy that speaks HTTP/2 over TLS on port 8443. What it is asked for it asks of
// an HTTP proxy on a port of the same host.
func Nghttpx(t testing.TB, h *internet.Host, c tls.Certificate, to uint16) *internet.Process {
	t.Helper()
	files := certified(t, c)
	at := h.At(to)
	args := []string{
		"--http2-proxy", "--no-ocsp", "--workers=1", "--conf=/dev/null", "--errorlog-file=/dev/stderr", "--accesslog-file=/dev/null",
		fmt.Sprintf("--backend=%s,%d", at.Addr(), at.Port()),
	}
	for _, any := range wildcards(h) {
		args = append(args, fmt.Sprintf("--frontend=%s,%d", any, PortSecure))
	}
	return server{binary: "nghttpx", dir: files.dir, args: append(args, files.key, files.cert), port: PortSecure}.start(t, h)
}

// NghttpxForward starts nghttpx on 127.0.0.1 and a port, as a proxy in clear that hands everything to a proxy which speaks
// HTTP/2 inside TLS: a client of another project for that.
func NghttpxForward(t testing.TB, h *internet.Host, port uint16, to netip.AddrPort, name, caFile string) *internet.Process {
	t.Helper()
	d := t.TempDir()
	return server{binary: "nghttpx", dir: d, args: []string{
		"--conf=/dev/null", "--no-ocsp", "--workers=1", "--http2-proxy", fmt.Sprintf("--frontend=127.0.0.1,%d;no-tls", port),
		fmt.Sprintf("--backend=%s,%d;;proto=h2;tls;sni=%s", to.Addr(), to.Port(), name), "--cacert=" + caFile, "--errorlog-file=/dev/stderr",
	}, port: port, loopback: true}.start(t, h)
}
