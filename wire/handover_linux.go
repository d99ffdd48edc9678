package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxHandover bounds the sockets of one message.
const maxHandover = 16

// Pair gives the two ends of a connection that keeps messages apart (unix(7), SOCK_SEQPACKET): one for this process, and one to
// be inherited by a child, which takes it over with [Inherited].
func Pair() (here *net.UnixConn, there *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("wire: pair: %w", err)
	}
	there = os.NewFile(uintptr(fds[1]), "pair")
	if here, err = Inherited(fds[0]); err != nil {
		_ = there.Close()
		return nil, nil, err
	}
	return here, there, nil
}

// Inherited takes over a descriptor that is one end of a [Pair]. It is closed on exec from now on.
func Inherited(fd int) (*net.UnixConn, error) {
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "pair")
	if f == nil {
		return nil, errors.New("wire: pair: there is no such descriptor")
	}
	defer f.Close() // the copy stays
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("wire: pair: %w", err)
	}
	if u, ok := conn.(*net.UnixConn); ok {
		return u, nil
	}
	_ = conn.Close()
	return nil, errors.New("wire: pair: the descriptor is something else")
}

// PairOf makes an end of a [Pair] of a descriptor that was handed over, and closes f. Any other connection is an error.
func PairOf(f *os.File) (*net.UnixConn, error) {
	conn, err := connOf[*net.UnixConn](f)
	if err == nil && conn.LocalAddr().Network() != "unixpacket" {
		_ = conn.Close()
		return nil, errors.New("wire: take over: a socket of another kind")
	}
	return conn, err
}

// HandOver sends a message, and copies of sockets with it (SCM_RIGHTS).
func HandOver(to *net.UnixConn, message []byte, sockets ...syscall.Conn) error {
	if len(sockets) > maxHandover {
		return fmt.Errorf("wire: hand over: more than %d sockets", maxHandover)
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for _, s := range sockets {
		raw, err := s.SyscallConn()
		if err != nil {
			return fmt.Errorf("wire: hand over: %w", err)
		}
		var fd int
		var failed error
		if err := raw.Control(func(at uintptr) { fd, failed = unix.FcntlInt(at, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
			failed = err
		}
		if failed != nil {
			return fmt.Errorf("wire: hand over: %w", failed)
		}
		fds = append(fds, fd)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := to.WriteMsgUnix(message, rights, nil); err != nil {
		return fmt.Errorf("wire: hand over: %w", err)
	}
	return nil
}

// TakeOver reads a message into b and gives the sockets that came with it; the caller closes them. A message that does not fit
// is an error, and one without an octet is the end, io.EOF.
func TakeOver(from *net.UnixConn, b []byte) (n int, sockets []*os.File, err error) {
	control := make([]byte, unix.CmsgSpace(4*maxHandover))
	n, c, flags, _, err := from.ReadMsgUnix(b, control)
	if err != nil {
		return 0, nil, err
	}
	fds, err := rightsOf(control[:c])
	for _, fd := range fds {
		unix.CloseOnExec(fd) // Go asks for it already
		sockets = append(sockets, os.NewFile(uintptr(fd), "socket"))
	}
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("wire: take over: the message is too long")
	}
	if err != nil {
		for _, s := range sockets {
			_ = s.Close()
		}
		return 0, nil, err
	}
	return n, sockets, nil
}

func rightsOf(control []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("wire: take over: %w", err)
	}
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, fmt.Errorf("wire: take over: %w", err)
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

// ListenerOf makes a listener of a socket that was handed over, and closes f.
func ListenerOf(f *os.File) (*net.TCPListener, error) {
	defer f.Close() // the copy stays
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("wire: take over: %w", err)
	}
	if tcp, ok := l.(*net.TCPListener); ok {
		return tcp, nil
	}
	_ = l.Close()
	return nil, errors.New("wire: take over: not a listening socket of TCP")
}

// UDPOf makes a socket of datagrams of one that was handed over, and closes f.
func UDPOf(f *os.File) (*net.UDPConn, error) { return connOf[*net.UDPConn](f) }

// TCPOf makes a connection of one that was handed over, and closes f.
func TCPOf(f *os.File) (*net.TCPConn, error) { return connOf[*net.TCPConn](f) }

// IPOf makes a raw socket of one that was handed over, and closes f.
func IPOf(f *os.File) (*net.IPConn, error) { return connOf[*net.IPConn](f) }

func connOf[C net.Conn](f *os.File) (c C, err error) {
	defer f.Close() // the copy stays
	conn, err := net.FileConn(f)
	if err != nil {
		return c, fmt.Errorf("wire: take over: %w", err)
	}
	if is, ok := conn.(C); ok {
		return is, nil
	}
	_ = conn.Close()
	return c, errors.New("wire: take over: a socket of another kind")
}

// DialContained connects from within the network of a contained program, where every address but loopback leads to sockets that
// were handed over: also on the ports of DNS. It must be called in such a network only. network is tcp or udp.
func DialContained(network string, to netip.AddrPort) (net.Conn, error) {
	if !to.IsValid() || to.Port() == 0 || network != "tcp" && network != "udp" {
		return nil, fmt.Errorf("wire: %w: %s %v", ErrAddress, network, to)
	}
	d := net.Dialer{Resolver: refusing, Timeout: containedWait}
	return d.Dial(network, to.String()) // the address is literal
}

// DialContainedBy is DialContained with a socket that is bound to a network interface by its name (SO_BINDTODEVICE): where the
// program has none but loopback, there is none to be found.
func DialContainedBy(device, network string, to netip.AddrPort) (net.Conn, error) {
	if !to.IsValid() || to.Port() == 0 || network != "tcp" && network != "udp" {
		return nil, fmt.Errorf("wire: %w: %s %v", ErrAddress, network, to)
	}
	d := net.Dialer{Resolver: refusing, Timeout: containedWait, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device) })
		return errors.Join(err, cerr)
	}}
	return d.Dial(network, to.String()) // the address is literal
}

// containedWait bounds a connection from loopback to loopback.
const containedWait = 5 * time.Second
