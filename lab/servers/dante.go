package servers

import (
	"fmt"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/lab/internet"
)

// Ports of dante's relays of datagrams.
const (
	firstRelay = 40000
	lastRelay  = 40031
)

// DantePeers gives whom a client of dante exchanges packets with: the proxy itself, and its relays of datagrams.
func DantePeers(h *internet.Host) []capture.Peer {
	peers := h.Peers(capture.TCP, PortSOCKS)
	for port := uint16(firstRelay); port <= lastRelay; port++ {
		peers = append(peers, h.Peers(capture.UDP, port)...)
	}
	return append(peers, h.Peers(capture.Other, 0)...) // fragments: what its header makes too long
}

// Dante starts danted as a SOCKS5 hop without login, on port 1080, for connections and datagrams: it knows users only from
// the system's own accounts.
func Dante(t testing.TB, h *internet.Host) *internet.Process {
	t.Helper()
	return dante(t, h, fmt.Sprintf("socks pass { from: 0/0 to: 0/0 udp.portrange: %d-%d }\n", firstRelay, lastRelay))
}

// DanteWithoutUDP is Dante that refuses datagrams.
func DanteWithoutUDP(t testing.TB, h *internet.Host) *internet.Process {
	t.Helper()
	return dante(t, h, "socks block { from: 0/0 to: 0/0 command: udpassociate udpreply }\nsocks pass { from: 0/0 to: 0/0 }\n")
}

func dante(t testing.TB, h *internet.Host, rules string) *internet.Process {
	t.Helper()
	d := t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, "logoutput: stderr\nuser.privileged: root\nuser.unprivileged: root\nclientmethod: none\nsocksmethod: none\nexternal: uplink\n")
	for _, a := range h.Addrs() { // each by itself: a relay needs one
		fmt.Fprintf(&b, "internal: %v port = %d\n", a, PortSOCKS)
	}
	fmt.Fprintf(&b, "client pass { from: 0/0 to: 0/0 }\n%s", rules)
	conf := write(t, d, "danted.conf", b.String())
	return server{binary: "danted", dir: d, args: []string{"-f", conf, "-p", d + "/pid", "-N", "1"}, port: PortSOCKS}.start(t, h)
}
