package wire

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// icmpFilter is ICMP_FILTER (linux/icmp.h), an option of the level of raw sockets.
const icmpFilter = 1

// ListenTransparentICMP opens a socket that sends messages of ICMP, or of ICMPv6, from an address which may be another host's, see
// [SendICMP]. It hears nothing. It needs CAP_NET_RAW and CAP_NET_ADMIN.
func ListenTransparentICMP(v6 bool) (*net.IPConn, error) {
	network, at := "ip4:1", netip.IPv4Unspecified()
	if v6 {
		network, at = "ip6:58", netip.IPv6Unspecified()
	}
	l := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		cerr := raw.Control(func(fd uintptr) {
			if err = makeTransparent(int(fd), !v6, 0, false); err == nil {
				err = hearNothing(int(fd), v6)
			}
		})
		if err == nil {
			err = cerr
		}
		return err
	}}
	conn, err := l.ListenPacket(context.Background(), network, at.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.IPConn), nil
}

// hearNothing keeps a raw socket from what it would hear: each message that comes to this host.
func hearNothing(fd int, v6 bool) error {
	if v6 {
		return unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &unix.ICMPv6Filter{Data: [8]uint32{^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)}})
	}
	return unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, -1)
}

// SendICMP sends a message by a socket of [ListenTransparentICMP], which begins behind the header of IP.
func SendICMP(conn *net.IPConn, message []byte, from, to netip.Addr) error {
	from, to = from.Unmap(), to.Unmap()
	if !from.IsValid() || !to.IsValid() || from.BitLen() != to.BitLen() {
		return fmt.Errorf("wire: %w: from %v to %v", ErrAddress, from, to)
	}
	var control []byte
	if from.Is4() {
		control = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.As4()})
	} else {
		control = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.As16()})
	}
	_, _, err := conn.WriteMsgIP(message, control, &net.IPAddr{IP: to.AsSlice()})
	return err
}
