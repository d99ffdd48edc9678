package wire

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// attribute is one attribute of a routing message.
func attribute(kind uint16, data []byte) []byte {
	b := native.AppendUint16(nil, uint16(4+len(data)))
	b = append(native.AppendUint16(b, kind), data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func message(kind int, flags uint16, head []byte, attributes ...[]byte) syscall.NetlinkMessage {
	for _, a := range attributes {
		head = append(head, a...)
	}
	return syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: uint16(kind), Flags: flags}, Data: head}
}

func linkMessage(kind int, index uint32, flags uint32) syscall.NetlinkMessage {
	b := native.AppendUint32(make([]byte, 4), index)
	b = native.AppendUint32(b, flags)
	return message(kind, 0, append(b, 0, 0, 0, 0), attribute(unix.IFLA_IFNAME, []byte("x\x00")))
}

func addrMessage(kind int, index uint32, scope byte, prefix string) syscall.NetlinkMessage {
	p := netip.MustParsePrefix(prefix)
	family := byte(unix.AF_INET6)
	if p.Addr().Is4() {
		family = unix.AF_INET
	}
	b := native.AppendUint32([]byte{family, byte(p.Bits()), 0, scope}, index)
	return message(kind, 0, b, attribute(unix.IFA_ADDRESS, p.Addr().AsSlice()))
}

// routeTo describes a route of a test.
type routeTo struct {
	dst, via       string
	link           uint32
	protocol, kind byte
	table          byte
	metric         uint32
	cloned         bool
}

func routeMessage(kind int, flags uint16, r routeTo) syscall.NetlinkMessage {
	p := netip.MustParsePrefix(r.dst)
	if r.kind == 0 {
		r.kind = unix.RTN_UNICAST
	}
	if r.table == 0 {
		r.table = unix.RT_TABLE_MAIN
	}
	b := []byte{unix.AF_INET, byte(p.Bits()), 0, 0, r.table, r.protocol, unix.RT_SCOPE_UNIVERSE, r.kind}
	state := uint32(0)
	if r.cloned {
		state = unix.RTM_F_CLONED
	}
	b = native.AppendUint32(b, state)
	var attributes [][]byte
	if p.Bits() > 0 {
		attributes = append(attributes, attribute(unix.RTA_DST, p.Addr().AsSlice()))
	}
	if r.via != "" {
		attributes = append(attributes, attribute(unix.RTA_GATEWAY, netip.MustParseAddr(r.via).AsSlice()))
	}
	attributes = append(attributes, attribute(unix.RTA_OIF, native.AppendUint32(nil, r.link)), attribute(unix.RTA_PRIORITY, native.AppendUint32(nil, r.metric)))
	return message(kind, flags, b, attributes...)
}

const running = unix.IFF_UP | unix.IFF_RUNNING

// home is a host with one link, its address and its default route.
func home(t *testing.T) networkState {
	t.Helper()
	s := newNetworkState()
	s.apply(linkMessage(unix.RTM_NEWLINK, 2, running))
	if !s.apply(addrMessage(unix.RTM_NEWADDR, 2, unix.RT_SCOPE_UNIVERSE, "192.0.2.7/24")) {
		t.Error("a first address is no change")
	}
	if !s.apply(routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "0.0.0.0/0", via: "192.0.2.1", link: 2})) {
		t.Error("a first route is no change")
	}
	return s
}

func TestWhatMattersToConnections_IsAChangeOfTheNetwork(t *testing.T) {
	byDefault := routeTo{dst: "0.0.0.0/0", via: "192.0.2.1", link: 2}
	for what, m := range map[string]syscall.NetlinkMessage{
		"another address":       addrMessage(unix.RTM_NEWADDR, 2, unix.RT_SCOPE_UNIVERSE, "192.0.2.8/24"),
		"of another length":     addrMessage(unix.RTM_NEWADDR, 2, unix.RT_SCOPE_UNIVERSE, "192.0.2.7/32"),
		"an address of IPv6":    addrMessage(unix.RTM_NEWADDR, 2, unix.RT_SCOPE_UNIVERSE, "2001:db8::7/64"),
		"on another link":       addrMessage(unix.RTM_NEWADDR, 3, unix.RT_SCOPE_UNIVERSE, "192.0.2.7/24"),
		"the address is gone":   addrMessage(unix.RTM_DELADDR, 2, unix.RT_SCOPE_UNIVERSE, "192.0.2.7/24"),
		"the link is down":      linkMessage(unix.RTM_NEWLINK, 2, 0),
		"without a cable":       linkMessage(unix.RTM_NEWLINK, 2, unix.IFF_UP),
		"the link is gone":      linkMessage(unix.RTM_DELLINK, 2, running),
		"an injected route":     routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "0.0.0.0/1", via: "192.0.2.66", link: 2, protocol: unix.RTPROT_DHCP}),
		"a redirect":            routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "198.51.100.1/32", via: "192.0.2.66", link: 2, protocol: unix.RTPROT_REDIRECT}),
		"another gateway":       routeMessage(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, routeTo{dst: "0.0.0.0/0", via: "192.0.2.66", link: 2}),
		"another metric":        routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "0.0.0.0/0", via: "192.0.2.1", link: 2, metric: 5}),
		"another table":         routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "0.0.0.0/0", via: "192.0.2.1", link: 2, table: 100}),
		"a black hole":          routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "0.0.0.0/0", kind: unix.RTN_BLACKHOLE}),
		"the route is gone":     routeMessage(unix.RTM_DELROUTE, 0, byDefault),
		"through another link":  routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "0.0.0.0/0", via: "192.0.2.1", link: 3}),
		"a network of its link": routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "198.51.100.0/24", link: 2}),
	} {
		s := home(t)
		if !s.apply(m) {
			t.Errorf("%s: no change", what)
		}
		if s.apply(m) {
			t.Errorf("%s: the same once more is a change again", what)
		}
	}
}

func TestWhatIsSaidAgainOrConcernsOneLinkOnly_IsNoChangeOfTheNetwork(t *testing.T) {
	s := home(t)
	for what, m := range map[string]syscall.NetlinkMessage{
		"the address, renewed":       addrMessage(unix.RTM_NEWADDR, 2, unix.RT_SCOPE_UNIVERSE, "192.0.2.7/24"),
		"the link's statistics":      linkMessage(unix.RTM_NEWLINK, 2, running|unix.IFF_PROMISC),
		"a link without an address":  linkMessage(unix.RTM_NEWLINK, 9, running),
		"its end":                    linkMessage(unix.RTM_DELLINK, 9, running),
		"an address of the link":     addrMessage(unix.RTM_NEWADDR, 2, unix.RT_SCOPE_LINK, "fe80::1/64"),
		"an address of the host":     addrMessage(unix.RTM_NEWADDR, 1, unix.RT_SCOPE_HOST, "127.0.0.2/8"),
		"the route, renewed":         routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "0.0.0.0/0", via: "192.0.2.1", link: 2}),
		"the route, replaced by it":  routeMessage(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, routeTo{dst: "0.0.0.0/0", via: "192.0.2.1", link: 2}),
		"a route of the kernel":      routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "192.0.2.0/24", link: 2, protocol: unix.RTPROT_KERNEL}),
		"a route to itself":          routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "192.0.2.7/32", link: 2, kind: unix.RTN_LOCAL}),
		"a route that was used":      routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "198.51.100.1/32", link: 2, cloned: true}),
		"a route that never was":     routeMessage(unix.RTM_DELROUTE, 0, routeTo{dst: "198.51.100.0/24", link: 2}),
		"an address that never was":  addrMessage(unix.RTM_DELADDR, 2, unix.RT_SCOPE_UNIVERSE, "198.51.100.7/24"),
		"something else":             message(unix.RTM_NEWNEIGH, 0, make([]byte, 12)),
		"a link, cut off":            message(unix.RTM_NEWLINK, 0, make([]byte, 15)),
		"an address, cut off":        message(unix.RTM_NEWADDR, 0, make([]byte, 7)),
		"an address without address": message(unix.RTM_NEWADDR, 0, make([]byte, 8), []byte{200, 0, 1, 0}),
		"a route, cut off":           message(unix.RTM_NEWROUTE, 0, make([]byte, 11)),
	} {
		if s.apply(m) {
			t.Errorf("%s: a change", what)
		}
	}
}

// A gateway that is put back is a change each time, although its first message was seen long ago.
func TestARouteThatIsReplacedAndPutBack_IsAChangeEachTime(t *testing.T) {
	s := home(t)
	for i := range 4 {
		via := []string{"192.0.2.66", "192.0.2.1"}[i%2]
		if !s.apply(routeMessage(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, routeTo{dst: "0.0.0.0/0", via: via, link: 2})) {
			t.Errorf("to %s: no change", via)
		}
	}
}

// The kernel drops the routes of a link that fails without a word about each.
func TestTheRoutesOfALinkThatFails_AreForgottenWithIt(t *testing.T) {
	for _, m := range []syscall.NetlinkMessage{
		linkMessage(unix.RTM_NEWLINK, 2, 0),
		linkMessage(unix.RTM_DELLINK, 2, 0),
		addrMessage(unix.RTM_DELADDR, 2, unix.RT_SCOPE_UNIVERSE, "192.0.2.7/24"),
	} {
		s := home(t)
		s.apply(m)
		if len(s.routes) != 0 {
			t.Errorf("after %d it knows %v", m.Header.Type, s.routes)
		}
	}
}

func TestTheRoutesOfALargeRouter_AreNotAllTold(t *testing.T) {
	s := home(t)
	route := func(i int) routeTo {
		return routeTo{dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}), 32).String(), link: 2}
	}
	for i := range maxNetworkRoutes - 1 {
		s.apply(routeMessage(unix.RTM_NEWROUTE, 0, route(i)))
	}
	if s.apply(routeMessage(unix.RTM_NEWROUTE, 0, route(maxNetworkRoutes))) || len(s.routes) != maxNetworkRoutes {
		t.Errorf("%d routes are told apart", len(s.routes))
	}
	if !s.apply(routeMessage(unix.RTM_NEWROUTE, 0, routeTo{dst: "0.0.0.0/0", via: "192.0.2.9", link: 2})) {
		t.Error("a default route among many is no change")
	}
}
