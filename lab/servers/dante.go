package servers

import (
	"fmt"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// Dante starts danted as a SOCKS5 hop without login, on port 1080: it knows users only from the
// system's own accounts.
func Dante(t testing.TB, h *internet.Host) *internet.Process {
	t.Helper()
	d := t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, "logoutput: stderr\nuser.privileged: root\nuser.unprivileged: root\nclientmethod: none\nsocksmethod: none\nexternal: uplink\n")
	if h.Addr4.IsValid() {
		fmt.Fprintf(&b, "internal: 0.0.0.0 port = %d\n", PortSOCKS)
	}
	if h.Addr6.IsValid() {
		fmt.Fprintf(&b, "internal: :: port = %d\n", PortSOCKS)
	}
	fmt.Fprintf(&b, "client pass { from: 0/0 to: 0/0 }\nsocks pass { from: 0/0 to: 0/0 }\n")
	conf := write(t, d, "danted.conf", b.String())
	return server{binary: "danted", dir: d, args: []string{"-f", conf, "-p", d + "/pid", "-N", "1"}, port: PortSOCKS}.start(t, h)
}
