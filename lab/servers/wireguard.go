package servers

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
)

// PortWireGuard is where a peer hears datagrams.
const PortWireGuard = 51820

// WireGuardPeers are whom one exchanges packets with who has a tunnel to a host.
func WireGuardPeers(h *internet.Host) []capture.Peer { return h.Peers(capture.UDP, PortWireGuard) }

// WireGuard starts wireguard-go as the far peer of a tunnel, and makes its host a router for it. The client's addresses
// inside the tunnel are the host's own further addresses: whatever is sent to them goes into the tunnel from now on. own
// are the peer's addresses inside. Further lines are about the client, as wg(8) has them.
func WireGuard(t testing.TB, h *internet.Host, private, client [32]byte, clientAddrs, own []netip.Addr, lines ...string) *internet.Process {
	t.Helper()
	lab.Need(t, "wireguard-go")
	lab.Need(t, "wg")
	dir := t.TempDir()
	var allowed []string
	for _, a := range clientAddrs {
		allowed = append(allowed, netip.PrefixFrom(a, a.BitLen()).String())
	}
	encode := base64.StdEncoding.EncodeToString
	config := write(t, dir, "wg.conf", fmt.Sprintf("[Interface]\nPrivateKey = %s\nListenPort = %d\n[Peer]\nPublicKey = %s\nAllowedIPs = %s\n%s\n",
		encode(private[:]), PortWireGuard, encode(client[:]), strings.Join(allowed, ", "), strings.Join(lines, "\n")))
	// Both in one place: the second finds the first by a socket under /var/run, and each program has one of its own.
	program := h.Program("sh", "-c", `mkdir -p /var/run/wireguard; wireguard-go -f wg0 & for i in $(seq 200); do wg setconf wg0 "$1" 2>/dev/null && echo configured && break; sleep 0.05; done; wait`, "sh", config)
	p := lab.Must(program.Start(t.Context()))(t)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("wireguard-go wrote:\n%s", p.Sofar().Text())
		}
	})
	lab.Must(p.AwaitOutput(t.Context(), "configured"))(t)
	lab.Must(0, h.Forward())(t)
	lab.Must(0, h.Do(func() error { return routeInto("wg0", clientAddrs, own) }))(t)
	return p
}

// routeInto leads addresses into a tunnel, in the network of the thread.
func routeInto(name string, clientAddrs, own []netip.Addr) error {
	uplink, err := netlink.LinkByName("uplink")
	if err != nil {
		return err
	}
	tunnel, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range own {
		addr := &netlink.Addr{IPNet: alone(a)}
		if a.Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(tunnel, addr); err != nil {
			return fmt.Errorf("the address %v of the tunnel: %w", a, err)
		}
	}
	if err := netlink.LinkSetUp(tunnel); err != nil {
		return err
	}
	for _, a := range clientAddrs {
		if err := netlink.AddrDel(uplink, &netlink.Addr{IPNet: alone(a)}); err != nil {
			return fmt.Errorf("the address %v of the uplink: %w", a, err)
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: tunnel.Attrs().Index, Dst: alone(a)}); err != nil {
			return fmt.Errorf("a route for %v: %w", a, err)
		}
	}
	return nil
}

func alone(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// Move has the datagrams of a peer leave from another address of its host, as behind a router that gets another one. What is
// sent to the first address is lost.
func Move(t testing.TB, h *internet.Host, to netip.Addr) {
	t.Helper()
	lab.Need(t, "nft")
	rules := h.Program("nft", "-f", "-")
	rules.Stdin = fmt.Appendf(nil, `table ip moved {
	chain lost { type filter hook prerouting priority raw; ip daddr %[1]v udp dport %[3]d drop; }
	chain from { type nat hook postrouting priority srcnat; ip saddr %[1]v udp sport %[3]d snat to %[2]v; }
}
`, h.Addr(), to, PortWireGuard)
	if r := lab.Run(t, rules); r.Err != nil || r.Code != 0 {
		t.Fatalf("nft: %v, exit code %d: %s", r.Err, r.Code, r.Text())
	}
}
