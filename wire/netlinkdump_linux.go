package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxDump bounds what the kernel tells in one dump, in octets.
const maxDump = 8 << 20

// dumpTries bounds how often the kernel is asked, as long as what is asked for changes while it tells it.
const dumpTries = 5

// ErrDumpTooLong says that the kernel has more to tell than is taken.
var ErrDumpTooLong = errors.New("the kernel tells more than is taken")

// errTorn says that a dump is none of any one moment (NLM_F_DUMP_INTR, linux/Documentation/userspace-api/netlink/intro.rst).
var errTorn = errors.New("what was asked for was changed meanwhile")

// NetlinkDump asks a part of the kernel (netlink(7), a protocol such as NETLINK_NETFILTER) for all that it has of a kind, in the network
// namespace of the calling thread, and gives what follows the header of each message of the answer, with the messages' types. The flags and
// the sequence number are set here. An error of the kernel is a [*Refusal]; one for want of rights wraps EPERM. What changes while it is told
// is asked for again, five times in all; nothing is given of an answer that was not whole. It changes nothing and reaches the kernel only.
func NetlinkDump(protocol int, message []byte) (answer []NetlinkAnswer, err error) {
	if len(message) < unix.SizeofNlMsghdr || binary.NativeEndian.Uint32(message) != uint32(len(message)) {
		return nil, errors.New("wire: netlink: the message has another length than it says")
	}
	return whole(func() ([]NetlinkAnswer, error) { return dumpOnce(protocol, message) })
}

// whole asks until an answer is one of one moment.
func whole(ask func() ([]NetlinkAnswer, error)) (answer []NetlinkAnswer, err error) {
	for range dumpTries {
		if answer, err = ask(); !errors.Is(err, errTorn) {
			return answer, err
		}
	}
	return nil, fmt.Errorf("%w, each of %d times", err, dumpTries)
}

// dumpOnce asks by a socket of its own, so that what is left of an answer that is given up reaches nobody.
func dumpOnce(protocol int, message []byte) ([]NetlinkAnswer, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("wire: netlink: %w", err)
	}
	defer unix.Close(fd)
	patience := unix.Timeval{Sec: netlinkPatience}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return nil, fmt.Errorf("wire: netlink: %w", err)
	}
	request := append([]byte{}, message...)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(request[8:], 1)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("wire: netlink: %w", err)
	}
	return readDump(func(b []byte) (n int, kernels bool, err error) {
		n, from, err := unix.Recvfrom(fd, b, 0)
		sender, ok := from.(*unix.SockaddrNetlink)
		return n, ok && sender.Pid == 0, err
	})
}

// NetlinkAnswer is a message of a dump.
type NetlinkAnswer struct {
	Type uint16
	Data []byte
}

// readDump reads until the kernel says that this was all. What is received is the kernel's or not.
func readDump(receive func([]byte) (n int, kernels bool, err error)) ([]NetlinkAnswer, error) {
	var answer []NetlinkAnswer
	b, octets := make([]byte, 64<<10), 0
	for {
		n, kernels, err := receive(b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("wire: netlink: the kernel's answer: %w", err)
		}
		if !kernels {
			continue
		}
		if octets += n; octets > maxDump {
			return nil, fmt.Errorf("wire: netlink: %w", ErrDumpTooLong)
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			return nil, fmt.Errorf("wire: netlink: the kernel's answer: %w", err)
		}
		for _, m := range messages {
			switch {
			case m.Header.Seq != 1:
			case m.Header.Flags&unix.NLM_F_DUMP_INTR != 0:
				return nil, fmt.Errorf("wire: netlink: %w", errTorn)
			case m.Header.Type == unix.NLMSG_DONE:
				if len(m.Data) >= 4 && int32(binary.NativeEndian.Uint32(m.Data)) < 0 { // it ended, and that was not all
					return nil, &Refusal{0, refusal(m.Data)}
				}
				return answer, nil
			case m.Header.Type == unix.NLMSG_ERROR:
				return nil, &Refusal{0, refusal(m.Data)}
			default:
				answer = append(answer, NetlinkAnswer{m.Header.Type, append([]byte{}, m.Data...)})
			}
		}
	}
}
