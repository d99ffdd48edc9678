package servers

import (
	"fmt"
	"net/netip"
	"testing"

	"watertight/lab/internet"
)

// HAProxy starts haproxy on 127.0.0.1 and a port, as a balancer of TCP in front of an address. send is the word by which
// it says where a client is, such as send-proxy-v2; empty, it says nothing.
func HAProxy(t testing.TB, h *internet.Host, port uint16, to netip.AddrPort, send string) *internet.Process {
	t.Helper()
	d := t.TempDir()
	conf := write(t, d, "haproxy.cfg", fmt.Sprintf(`defaults
	mode tcp
	timeout connect 10s
	timeout client 60s
	timeout server 60s
listen balancer
	bind 127.0.0.1:%d
	server proxy %s %s
`, port, to, send))
	return server{binary: "haproxy", dir: d, args: []string{"-db", "-f", conf}, port: port, loopback: true}.start(t, h)
}
