package wire

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// ListenMarkedTCP is [ListenTCP] for a socket whose connections put a mark on every packet, if it is not 0. It needs
// CAP_NET_ADMIN, and Linux.
func ListenMarkedTCP(at netip.AddrPort, mark uint32) (*net.TCPListener, error) {
	l, err := ListenTCP(at)
	if err != nil {
		return nil, err
	}
	if err := Mark(l, mark); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// ListenMarkedUDP is [ListenUDP] for a socket that puts a mark on every packet, if it is not 0. It needs CAP_NET_ADMIN, and
// Linux.
func ListenMarkedUDP(at netip.AddrPort, mark uint32) (*net.UDPConn, error) {
	c, err := ListenUDP(at)
	if err != nil {
		return nil, err
	}
	if err := Mark(c, mark); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Mark puts a mark on all that a socket sends from now on, and on what the connections send that it accepts from now on; 0 leaves
// it as it is. It needs CAP_NET_ADMIN, and Linux.
func Mark(socket syscall.Conn, mark uint32) error {
	if mark == 0 {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	if err := setMark(raw, mark); err != nil {
		return fmt.Errorf("wire: mark: %w", err)
	}
	return nil
}
