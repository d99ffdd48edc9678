package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// networkGroups are what the kernel tells of (rtnetlink(7)).
const networkGroups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE

// networkWatch is a routing socket of the kernel, and what is known of the network by way of it. It reaches the kernel
// only.
type networkWatch struct {
	f     *os.File
	state networkState
	b     [64 << 10]byte
	seq   uint32
}

// openNetworkWatch learns how the network is, and hears of every change after that.
func openNetworkWatch() (*networkWatch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("wire: routing socket: %w", err)
	}
	w := &networkWatch{f: os.NewFile(uintptr(fd), "routing socket")}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: networkGroups}); err != nil {
		w.close()
		return nil, fmt.Errorf("wire: routing socket: %w", err)
	}
	if err := w.learn(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *networkWatch) close() { _ = w.f.Close() }

// learnLimit is how often the kernel is asked for all that there is, if more happens meanwhile than there is room for.
const learnLimit = 5

// learn asks the kernel for all that there is.
func (w *networkWatch) learn() (err error) {
	for range learnLimit {
		if err = w.list(); !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
	return fmt.Errorf("wire: routing socket: %w", err)
}

func (w *networkWatch) list() error {
	w.state = newNetworkState()
	for _, what := range []uint16{unix.RTM_GETLINK, unix.RTM_GETADDR, unix.RTM_GETROUTE} {
		w.seq++
		if err := w.ask(what); err != nil {
			return err
		}
		for done := false; !done; {
			messages, err := w.read()
			if err != nil {
				return err
			}
			for _, m := range messages {
				mine := m.Header.Seq == w.seq
				switch {
				case m.Header.Type == unix.NLMSG_DONE && mine:
					done = true
				case m.Header.Type == unix.NLMSG_ERROR && mine:
					return fmt.Errorf("wire: routing socket: the kernel refuses to list: %w", refusal(m.Data))
				default:
					w.state.apply(m)
				}
			}
		}
	}
	return nil
}

// ask requests a list of one kind.
func (w *networkWatch) ask(what uint16) error {
	const length = unix.SizeofNlMsghdr + unix.SizeofRtGenmsg
	b := make([]byte, length)
	ne := binary.NativeEndian
	ne.PutUint32(b, length)
	ne.PutUint16(b[4:], what)
	ne.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	ne.PutUint32(b[8:], w.seq)
	if _, err := w.f.Write(b); err != nil {
		return fmt.Errorf("wire: routing socket: %w", err)
	}
	return nil
}

func refusal(b []byte) error {
	if len(b) < 4 {
		return errors.New("without a reason")
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(b)))
}

// read gives the next messages of the kernel. Those of anybody else are passed over.
func (w *networkWatch) read() ([]syscall.NetlinkMessage, error) {
	raw, err := w.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	for {
		var n, flags int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, _, flags, from, failed = unix.Recvmsg(int(fd), w.b[:], nil, 0)
			return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
		})
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		if flags&unix.MSG_TRUNC != 0 {
			return nil, unix.ENOBUFS
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue
		}
		return syscall.ParseNetlinkMessage(w.b[:n])
	}
}

// run calls changed at each change, until the socket is closed.
func (w *networkWatch) run(changed func()) error {
	for {
		messages, err := w.read()
		if errors.Is(err, unix.ENOBUFS) { // more happened than there was room for
			changed()
			if err := w.learn(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("wire: routing socket: %w", err)
		}
		any := false
		for _, m := range messages {
			any = w.state.apply(m) || any
		}
		if any {
			changed()
		}
	}
}
