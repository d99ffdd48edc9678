package servers

import (
	"crypto/tls"
	"encoding/json"
	"net/netip"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// Ports of Pebble: of its directory, at /dir, and of the page with its root certificate, at /roots/0.
const (
	PortACME      = 14000
	PortACMERoots = 15000
)

// Pebble starts Pebble, an authority that speaks ACME, with a certificate for its directory. It looks names up at dns, and
// validates on these ports of what they lead to: https by tls-alpn-01, http by http-01.
func Pebble(t testing.TB, h *internet.Host, c tls.Certificate, dns netip.AddrPort, https, http uint16) *internet.Process {
	t.Helper()
	files := certified(t, c)
	config := lab.Must(json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": h.At(PortACME).String(), "managementListenAddress": h.At(PortACMERoots).String(),
		"certificate": files.cert, "privateKey": files.key, "httpPort": http, "tlsPort": https,
	}}))(t)
	s := server{binary: "pebble", dir: files.dir, port: PortACME, args: []string{"-config", write(t, files.dir, "pebble.json", string(config)), "-dnsserver", dns.String()}}
	s.env = []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20"}
	return s.start(t, h)
}
