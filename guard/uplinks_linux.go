package guard

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"watertight/wire"
)

// iflaParentDevName is what golang.org/x/sys does not name (linux/if_link.h): the hardware that a device is.
const iflaParentDevName = 56

// Uplinks are the devices of the calling thread's network that lead out of this host: hardware, and those over which a default route
// leads, or half of one, or a route by a gateway. They are sorted.
func Uplinks() ([]string, error) {
	links, err := wire.NetlinkDump(unix.NETLINK_ROUTE, routeRequest(unix.RTM_GETLINK, unix.SizeofIfInfomsg))
	if err != nil {
		return nil, fmt.Errorf("which devices there are cannot be known: %w", err)
	}
	routes, err := wire.NetlinkDump(unix.NETLINK_ROUTE, routeRequest(unix.RTM_GETROUTE, unix.SizeofRtMsg))
	if err != nil {
		return nil, fmt.Errorf("which routes there are cannot be known: %w", err)
	}
	names := map[uint32]string{}
	var out []string
	for _, m := range links {
		if m.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		index, flags := binary.NativeEndian.Uint32(m.Data[4:]), binary.NativeEndian.Uint32(m.Data[8:])
		attributes := attributesOf(m.Data[unix.SizeofIfInfomsg:])
		name := text(attributes[unix.IFLA_IFNAME])
		if flags&unix.IFF_LOOPBACK != 0 || name == "" {
			continue
		}
		names[index] = name
		if _, hardware := attributes[iflaParentDevName]; hardware {
			out = append(out, name)
		}
	}
	for _, m := range routes {
		if m.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg || m.Data[7] != unix.RTN_UNICAST {
			continue
		}
		for _, index := range leadsOut(m.Data[1], attributesOf(m.Data[unix.SizeofRtMsg:])) {
			if name, ok := names[index]; ok {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// leadsOut gives the devices by which a route leads out.
func leadsOut(length byte, attributes map[uint16][]byte) []uint32 {
	var out []uint32
	gateway := func(a map[uint16][]byte) bool { return a[unix.RTA_GATEWAY] != nil || a[unix.RTA_VIA] != nil }
	if b := attributes[unix.RTA_OIF]; len(b) == 4 && (length <= 1 || gateway(attributes)) {
		out = append(out, binary.NativeEndian.Uint32(b))
	}
	for b := attributes[unix.RTA_MULTIPATH]; len(b) >= unix.SizeofRtNexthop; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			break
		}
		if length <= 1 || gateway(attributesOf(b[unix.SizeofRtNexthop:n])) {
			out = append(out, binary.NativeEndian.Uint32(b[4:]))
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return out
}

func routeRequest(kind uint16, body int) []byte {
	m := make([]byte, unix.SizeofNlMsghdr+body)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], kind)
	return m
}

// attributesOf reads what follows the fixed part of a message (rtnetlink(7)).
func attributesOf(b []byte) map[uint16][]byte {
	out := map[uint16][]byte{}
	for len(b) >= unix.SizeofRtAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			break
		}
		out[binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = b[unix.SizeofRtAttr:n]
		b = b[min(len(b), (n+3)&^3):]
	}
	return out
}
