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

// ErrDumpTooLong says that the kernel has more to tell than is taken.
var ErrDumpTooLong = errors.New("the kernel tells more than is taken")

// NetlinkDump asks a part of the kernel (netlink(7), a protocol such as NETLINK_NETFILTER) for all that it has of a kind, in the network
// namespace of the calling thread, and gives what follows the header of each message of the answer, with the messages' types. The flags and
// the sequence number are set here. An error of the kernel is a [*Refusal]; one for want of rights wraps EPERM. It changes nothing and
// reaches the kernel only.
func NetlinkDump(protocol int, message []byte) (answer []NetlinkAnswer, err error) {
	if len(message) < unix.SizeofNlMsghdr || binary.NativeEndian.Uint32(message) != uint32(len(message)) {
		return nil, errors.New("wire: netlink: the message has another length than it says")
	}
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
	return readDump(fd)
}

// NetlinkAnswer is a message of a dump.
type NetlinkAnswer struct {
	Type uint16
	Data []byte
}

// readDump reads until the kernel says that this was all.
func readDump(fd int) ([]NetlinkAnswer, error) {
	var answer []NetlinkAnswer
	b, octets := make([]byte, 64<<10), 0
	for {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("wire: netlink: the kernel's answer: %w", err)
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
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
				return nil, errors.New("wire: netlink: what was asked for was changed meanwhile")
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
