package wire

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxNetworkRoutes is how many routes are told apart. On a router with more than that, of those beyond only a default
// route counts as a change.
const maxNetworkRoutes = 16384

// networkState is what of a host's network matters to connections: which addresses there are, on which links that work,
// and where the routes lead. It learns from the kernel's messages, which it takes in any order and more than once.
type networkState struct {
	links  map[uint32]bool // by index: whether it works
	addrs  map[networkAddr]struct{}
	routes map[networkRoute]struct{}
}

// attributeKind are the bits of an attribute's type that say what it is; two others are flags (netlink(7)).
const attributeKind = 1<<14 - 1

type networkAddr struct {
	link uint32
	addr netip.Prefix
}

// networkRoute is one way of a route. Routes with the same id are alternatives.
type networkRoute struct {
	id   string // family, destination, table, metric
	link uint32
	way  string // gateway and the like
}

func newNetworkState() networkState {
	return networkState{links: map[uint32]bool{}, addrs: map[networkAddr]struct{}{}, routes: map[networkRoute]struct{}{}}
}

// apply learns from one message, and says whether the network is another by it. A message that is too short says
// nothing.
func (s *networkState) apply(m syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return s.link(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return s.addr(m)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return s.route(m)
	}
	return false
}

func (s *networkState) link(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return false
	}
	index, flags := binary.NativeEndian.Uint32(m.Data[4:]), binary.NativeEndian.Uint32(m.Data[8:])
	works := flags&unix.IFF_UP != 0 && flags&unix.IFF_RUNNING != 0
	before := s.links[index]
	has := s.has(index)
	if s.links[index] = works; m.Header.Type == unix.RTM_DELLINK {
		works = false
		delete(s.links, index)
		maps.DeleteFunc(s.addrs, func(a networkAddr, _ struct{}) bool { return a.link == index })
	}
	if !works {
		s.dropRoutes(index)
	}
	return works != before && has
}

// has says whether a link has an address.
func (s *networkState) has(index uint32) bool {
	for a := range s.addrs {
		if a.link == index {
			return true
		}
	}
	return false
}

// dropRoutes forgets the routes by a link: the kernel does not tell of each that it drops with it.
func (s *networkState) dropRoutes(index uint32) {
	maps.DeleteFunc(s.routes, func(r networkRoute, _ struct{}) bool { return r.link == index })
}

func (s *networkState) addr(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return false
	}
	bits, scope := int(m.Data[1]), m.Data[3]
	if scope == unix.RT_SCOPE_LINK || scope == unix.RT_SCOPE_HOST {
		return false
	}
	attributes := networkAttributes(m.Data[unix.SizeofIfAddrmsg:])
	b := attributes[unix.IFA_LOCAL]
	if b == nil {
		b = attributes[unix.IFA_ADDRESS]
	}
	ip, ok := netip.AddrFromSlice(b)
	if !ok {
		return false
	}
	a := networkAddr{binary.NativeEndian.Uint32(m.Data[4:]), netip.PrefixFrom(ip, bits)}
	_, known := s.addrs[a]
	if m.Header.Type == unix.RTM_NEWADDR {
		s.addrs[a] = struct{}{}
		return !known
	}
	delete(s.addrs, a)
	if !s.has(a.link) {
		s.dropRoutes(a.link)
	}
	return known
}

func (s *networkState) route(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofRtMsg {
		return false
	}
	protocol, kind, flags := m.Data[5], m.Data[7], binary.NativeEndian.Uint32(m.Data[8:])
	switch {
	case flags&unix.RTM_F_CLONED != 0, protocol == unix.RTPROT_KERNEL:
		return false
	case kind == unix.RTN_LOCAL, kind == unix.RTN_BROADCAST, kind == unix.RTN_ANYCAST, kind == unix.RTN_MULTICAST:
		return false
	}
	attributes := networkAttributes(m.Data[unix.SizeofRtMsg:])
	part := func(list ...uint16) (text string) {
		for _, a := range list {
			text += string(attributes[a]) + "|"
		}
		return text
	}
	r := networkRoute{
		// Family, lengths of destination and source, type of service, table, kind.
		id:  string(append([]byte{kind}, m.Data[:5]...)) + part(unix.RTA_DST, unix.RTA_SRC, unix.RTA_TABLE, unix.RTA_PRIORITY),
		way: part(unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH, unix.RTA_ENCAP),
	}
	if b := attributes[unix.RTA_OIF]; len(b) == 4 {
		r.link = binary.NativeEndian.Uint32(b)
	}
	_, known := s.routes[r]
	if m.Header.Type == unix.RTM_DELROUTE {
		delete(s.routes, r)
		return known
	}
	if m.Header.Flags&unix.NLM_F_REPLACE != 0 {
		maps.DeleteFunc(s.routes, func(old networkRoute, _ struct{}) bool { return old.id == r.id })
	}
	if len(s.routes) >= maxNetworkRoutes {
		return !known && m.Data[1] == 0
	}
	s.routes[r] = struct{}{}
	return !known
}

// networkAttributes reads what follows a message's head; the first of a kind counts.
func networkAttributes(b []byte) map[uint16][]byte {
	all := map[uint16][]byte{}
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			break
		}
		kind := binary.NativeEndian.Uint16(b[2:]) & attributeKind
		if _, twice := all[kind]; !twice {
			all[kind] = b[unix.SizeofRtAttr:length]
		}
		b = b[min(len(b), (length+unix.RTA_ALIGNTO-1)/unix.RTA_ALIGNTO*unix.RTA_ALIGNTO):]
	}
	return all
}
