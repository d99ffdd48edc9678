package internet

import "net/netip"

// stubs are where systems run a resolver of their own that asks the provider's: what a library asks that finds no
// configuration, or has that of systemd-resolved (systemd-resolved.service(8)). Packets to them cross no link, so that
// nobody would see a program that asks them if they were not there.
var stubs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.AddrFrom4([4]byte{127, 0, 0, 53}), netip.IPv6Loopback()}

// serveStubs runs the host's own resolvers, which pass on every question to the provider as it is.
func (h *Host) serveStubs() error {
	ask := func(message []byte) []byte {
		reply, err := h.Ask(netip.AddrPortFrom(h.Nameservers()[0], dnsPort), message)
		if err != nil {
			return nil
		}
		return reply
	}
	for _, addr := range stubs {
		at := netip.AddrPortFrom(addr, dnsPort)
		tcp, err := h.ListenAt(at)
		if err != nil {
			return err
		}
		udp, err := h.ListenUDPAt(at)
		if err != nil {
			return err
		}
		s := &plainServer{in: h.in, tcp: tcp, answer: func(q asked) []byte { return ask(q.Message) }}
		h.in.wg.Go(s.serveTCP)
		h.in.wg.Go(func() {
			b := make([]byte, 64<<10)
			for {
				n, from, err := udp.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				message := append([]byte(nil), b[:n]...)
				h.in.wg.Go(func() {
					if reply := ask(message); reply != nil {
						_, _ = udp.WriteToUDPAddrPort(reply, from)
					}
				})
			}
		})
	}
	return nil
}
