package contained

import (
	"net"
	"net/netip"

	"watertight/icmp"
	"watertight/wire"
)

// Unreachable gives [Sockets.Unreachable] for two sockets of [wire.ListenTransparentICMP] in the namespace of a program; v6 is nil
// where that has no IPv6. The caller closes them, once [Door.Serve] has returned.
func Unreachable(v4, v6 *net.IPConn) func(client, meant netip.AddrPort) {
	return func(client, meant netip.AddrPort) {
		conn := v4
		if meant.Addr().Unmap().Is6() {
			conn = v6
		}
		message := icmp.PortUnreachable(client, meant)
		if conn == nil || message == nil {
			return
		}
		_ = wire.SendICMP(conn, message, meant.Addr(), client.Addr()) // where it is lost, the program waits as for any that is
	}
}
