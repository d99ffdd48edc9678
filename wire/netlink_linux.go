package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Refusal is an error of the kernel to one of several messages.
type Refusal struct {
	Message int // which one, from 0
	Err     error
}

// Error says which message was refused.
func (r *Refusal) Error() string { return fmt.Sprintf("message %d: %v", r.Message, r.Err) }

// Unwrap gives the kernel's error.
func (r *Refusal) Unwrap() error { return r.Err }

// netlinkPatience is how long the kernel may take for its answer.
const netlinkPatience = 5

// Netlink tells a part of the kernel (netlink(7), a protocol such as NETLINK_ROUTE) all messages at once, for the network
// namespace of the calling thread, and waits for an answer to each that asks for one by NLM_F_ACK. The sequence numbers are
// set here. The kernel's first no is a [*Refusal]. It reaches the kernel only.
func Netlink(protocol int, messages [][]byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return fmt.Errorf("wire: netlink: %w", err)
	}
	defer unix.Close(fd)
	patience := unix.Timeval{Sec: netlinkPatience}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return fmt.Errorf("wire: netlink: %w", err)
	}
	var all []byte
	waiting := map[uint32]int{}
	for i, m := range messages {
		if len(m) < unix.SizeofNlMsghdr || binary.NativeEndian.Uint32(m) != uint32(len(m)) {
			return fmt.Errorf("wire: netlink: message %d has another length than it says", i)
		}
		seq := uint32(i + 1)
		at := len(all)
		all = append(append(all, m...), make([]byte, -len(m)&(unix.NLMSG_ALIGNTO-1))...)
		binary.NativeEndian.PutUint32(all[at+8:], seq)
		if binary.NativeEndian.Uint16(m[6:])&unix.NLM_F_ACK != 0 {
			waiting[seq] = i
		}
	}
	if err := unix.Sendto(fd, all, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("wire: netlink: %w", err)
	}
	return awaitAcks(fd, waiting)
}

// awaitAcks reads until each message has its answer.
func awaitAcks(fd int, waiting map[uint32]int) error {
	b := make([]byte, 32<<10)
	for len(waiting) > 0 {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wire: netlink: the kernel's answer: %w", err)
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue
		}
		answers, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			return fmt.Errorf("wire: netlink: the kernel's answer: %w", err)
		}
		for _, a := range answers {
			i, mine := waiting[a.Header.Seq]
			if !mine || a.Header.Type != unix.NLMSG_ERROR {
				continue
			}
			delete(waiting, a.Header.Seq)
			if no := refusal(a.Data); !errors.Is(no, unix.Errno(0)) {
				return &Refusal{i, no}
			}
		}
	}
	return nil
}
