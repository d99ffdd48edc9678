package network

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"watertight/wire"
)

// step is a message with what it is for.
type step struct {
	what    string
	message *message
}

// tell sends the steps and says which of them the kernel refuses.
func tell(protocol int, steps []step) error {
	messages := make([][]byte, len(steps))
	for i, s := range steps {
		messages[i] = s.message.bytes()
	}
	err := wire.Netlink(protocol, messages)
	if no, ok := err.(*wire.Refusal); ok { //nolint:errorlint // it comes as it is
		return fmt.Errorf("%s: %w", steps[no.Message].what, no.Err)
	}
	return err
}

// route makes every address one of this host, as far as this network goes. Programs send from the address inside.
func route(inside netip.Addr) error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	var up []byte
	up = append(up, unix.AF_UNSPEC, 0, 0, 0)
	up = binary.NativeEndian.AppendUint32(up, uint32(lo.Index))
	up = binary.NativeEndian.AppendUint32(up, unix.IFF_UP)
	up = binary.NativeEndian.AppendUint32(up, unix.IFF_UP) // of all flags, this one is set
	family := byte(unix.AF_INET6)
	if inside.Is4() {
		family = unix.AF_INET
	}
	// Without a route to its prefix, which would be one that rejects, on this interface and until the kernel has made the address
	// a local one, some time later.
	const flags = unix.IFA_F_PERMANENT | unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE
	addr := []byte{family, byte(inside.BitLen()), flags & 0xff, unix.RT_SCOPE_UNIVERSE}
	addr = binary.NativeEndian.AppendUint32(addr, uint32(lo.Index))
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	if inside.Is4() {
		scope = unix.RT_SCOPE_HOST
	}
	everything := []byte{family, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, scope, unix.RTN_LOCAL, 0, 0, 0, 0}
	const create = unix.NLM_F_CREATE | unix.NLM_F_EXCL | unix.NLM_F_ACK
	return tell(unix.NETLINK_ROUTE, []step{
		{"bring the loopback interface up", newMessage(unix.RTM_NEWLINK, unix.NLM_F_ACK, up)},
		{"give it an address", newMessage(unix.RTM_NEWADDR, create, addr).add(unix.IFA_LOCAL, inside.AsSlice()).add(unix.IFA_ADDRESS, inside.AsSlice()).u32(unix.IFA_FLAGS, flags)},
		{"route every address to it", newMessage(unix.RTM_NEWROUTE, create, everything).u32(unix.RTA_OIF, uint32(lo.Index)).add(unix.RTA_PREFSRC, inside.AsSlice())},
	})
}
