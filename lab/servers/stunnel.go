package servers

import (
	"crypto/tls"
	"fmt"
	"testing"

	"watertight/lab/internet"
)

// PortSecure is where a hop over TLS listens.
const PortSecure = 8443

// Stunnel starts stunnel: TLS on port 8443, and what is inside it goes to a port of the same host.
func Stunnel(t testing.TB, h *internet.Host, c tls.Certificate, to uint16) *internet.Process {
	t.Helper()
	files := certified(t, c)
	accept := fmt.Sprintf(":::%d", PortSecure)
	if !h.Addr6.IsValid() {
		accept = fmt.Sprintf("0.0.0.0:%d", PortSecure)
	}
	// It writes an IPv6 address without brackets: the port is behind the last colon.
	conf := write(t, files.dir, "stunnel.conf", fmt.Sprintf(`foreground = yes
pid =
syslog = no
output = /dev/stderr
[hop]
accept = %s
connect = %s:%d
cert = %s
key = %s
sslVersionMin = TLSv1.3
`, accept, h.At(to).Addr(), to, files.cert, files.key))
	return server{binary: "stunnel4", dir: files.dir, args: []string{conf}, port: PortSecure}.start(t, h)
}
