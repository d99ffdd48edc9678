package wire

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenTransparentTCP is [ListenTCP] for a socket that takes connections which the firewall hands over by TPROXY: the
// address at this end of each is the one that its client meant. It needs CAP_NET_ADMIN. mark is put on all that the
// socket sends, if it is not 0.
func ListenTransparentTCP(at netip.AddrPort, mark uint32) (*net.TCPListener, error) {
	if !at.IsValid() {
		return nil, fmt.Errorf("wire: %w: %v", ErrAddress, at)
	}
	l, err := transparent(mark, false).Listen(context.Background(), "tcp"+family(at), at.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// ListenTransparentUDP is ListenTransparentTCP for datagrams: [OriginalOf] reads from what comes beside each where its
// client sent it.
func ListenTransparentUDP(at netip.AddrPort, mark uint32) (*net.UDPConn, error) {
	if !at.IsValid() {
		return nil, fmt.Errorf("wire: %w: %v", ErrAddress, at)
	}
	return transparentUDP(at, mark, true)
}

// ReplyFrom gives a socket that sends from an address which may be another host's: to answer a client in the name of
// whom it asked. Nothing is to be read from it.
func ReplyFrom(at netip.AddrPort, mark uint32) (*net.UDPConn, error) {
	if !at.IsValid() || at.Port() == 0 {
		return nil, fmt.Errorf("wire: %w: %v", ErrAddress, at)
	}
	return transparentUDP(at, mark, false)
}

func transparentUDP(at netip.AddrPort, mark uint32, told bool) (*net.UDPConn, error) {
	c, err := transparent(mark, told).ListenPacket(context.Background(), "udp"+family(at), at.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// transparent makes sockets that may have addresses of others. told asks the kernel for where a datagram was sent.
func transparent(mark uint32, told bool) *net.ListenConfig {
	return &net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) error {
		var err error
		cerr := raw.Control(func(fd uintptr) {
			err = makeTransparent(int(fd), network[len(network)-1] == '4', mark, told)
		})
		if err == nil {
			err = cerr
		}
		return err
	}}
}

func makeTransparent(fd int, v4 bool, mark uint32, told bool) error {
	type option struct{ level, name, value int }
	set := []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}}
	if v4 {
		set = append(set, option{unix.SOL_IP, unix.IP_TRANSPARENT, 1})
	} else {
		set = append(set, option{unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1})
	}
	if told && v4 {
		set = append(set, option{unix.SOL_IP, unix.IP_RECVORIGDSTADDR, 1})
	} else if told {
		set = append(set, option{unix.SOL_IPV6, unix.IPV6_RECVORIGDSTADDR, 1}, option{unix.SOL_IP, unix.IP_RECVORIGDSTADDR, 1})
	}
	if mark != 0 {
		set = append(set, option{unix.SOL_SOCKET, unix.SO_MARK, int(mark)})
	}
	for _, o := range set {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("option %d of level %d: %w", o.name, o.level, err)
		}
	}
	return nil
}

// originalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).
const originalDst = 80

// RedirectedFrom gives the address that the client of a connection meant, before the firewall redirected it here.
// [ErrNotRedirected] is of one that was meant for this program.
func RedirectedFrom(conn *net.TCPConn) (netip.AddrPort, error) {
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, ErrNotRedirected
	}
	here := local.AddrPort()
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var meant netip.AddrPort
	cerr := raw.Control(func(fd uintptr) { meant, err = originalOf(int(fd), here.Addr().Unmap().Is4()) })
	if cerr != nil {
		return netip.AddrPort{}, cerr
	}
	if err == unix.ENOENT || err == nil && meant == netip.AddrPortFrom(here.Addr().Unmap(), here.Port()) {
		return netip.AddrPort{}, ErrNotRedirected
	}
	return meant, err
}

func originalOf(fd int, v4 bool) (netip.AddrPort, error) {
	if v4 {
		b, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, originalDst) // twenty octets, of which a sockaddr_in takes sixteen
		if err != nil {
			return netip.AddrPort{}, err
		}
		a := b.Multiaddr
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), binary.BigEndian.Uint16(a[2:])), nil
	}
	b, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, originalDst) // a sockaddr_in6 and four octets
	if err != nil {
		return netip.AddrPort{}, err
	}
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], b.Addr.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(b.Addr.Addr).Unmap(), binary.BigEndian.Uint16(port[:])), nil
}

// OriginalControl is room for what the kernel tells beside a datagram.
const OriginalControl = 128

// OriginalOf reads where a datagram was sent from what the kernel told beside it.
func OriginalOf(control []byte) (netip.AddrPort, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for i := range messages {
		switch a, err := unix.ParseOrigDstAddr(&messages[i]); a := a.(type) {
		case *unix.SockaddrInet4:
			if err == nil {
				return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
			}
		case *unix.SockaddrInet6:
			if err == nil {
				return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
			}
		}
	}
	return netip.AddrPort{}, false
}

// MayMark says whether this program may put a mark on what it sends: that takes CAP_NET_ADMIN.
func MayMark(mark uint32) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark))
}

// setMark puts a mark on all that a socket sends (SO_MARK, socket(7)).
func setMark(raw syscall.RawConn, mark uint32) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	}); cerr != nil {
		return cerr
	}
	return err
}
