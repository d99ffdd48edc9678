package wire

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Unmark takes the mark off what a connection sends from now on. It takes CAP_NET_ADMIN.
func Unmark(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	if err := setMark(raw, 0); err != nil {
		return fmt.Errorf("wire: mark: %w", err)
	}
	return nil
}

// SendPast hands an IP packet to a device, past the firewall of IP, addressed on the link to the device itself. It takes CAP_NET_RAW, and
// is for what [DialAsOthers] is for. The error is ENOBUFS where the device, or a firewall at it, takes no packet.
func SendPast(device *net.Interface, packet []byte) error {
	protocol := uint16(unix.ETH_P_IP)
	if len(packet) > 0 && packet[0]>>4 == 6 {
		protocol = unix.ETH_P_IPV6
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // which hears nothing
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: htons(protocol), Ifindex: device.Index, Halen: uint8(min(len(device.HardwareAddr), 8))}
	copy(to.Addr[:], device.HardwareAddr)
	return unix.Sendto(fd, packet, 0, to)
}
