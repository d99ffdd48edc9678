package internet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"watertight/contain"
)

// hijackTable is the provider's routing table in which every address is its own.
const hijackTable = 53

// connect joins the host to the provider by a veth pair. For the observed host, both ends are captured before
// either is up, and the provider keeps every packet to port 53 for itself.
func (h *Host) connect(observed bool) error {
	isp := h.in.ISP.space
	remote := fmt.Sprintf("to-%d", h.number)
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: remote}, PeerName: "uplink", PeerNamespace: netlink.NsFd(h.space.FD())}
	var here, there int
	err := isp.Do(func() error {
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("make a link: %w", err)
		}
		return indexOf(remote, &there)
	})
	if err != nil {
		return err
	}
	if err := h.space.Do(func() error { return indexOf("uplink", &here) }); err != nil {
		return err
	}
	if observed {
		if err := h.in.tap(h.Name, h.space, here); err != nil {
			return err
		}
		if err := h.in.tap("isp", isp, there); err != nil {
			return err
		}
	}
	err = isp.Do(func() error {
		if err := h.sysctls(remote); err != nil {
			return err
		}
		if err := up(there, h.gateways()); err != nil {
			return err
		}
		if err := h.routesTo(there); err != nil {
			return err
		}
		if observed {
			return hijack(remote, h.in.Families)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("at the provider: %w", err)
	}
	return h.space.Do(func() error {
		if err := h.sysctls("uplink"); err != nil {
			return err
		}
		if err := up(here, h.prefixes()); err != nil {
			return err
		}
		for _, a := range h.extra {
			if err := addAddr(here, netip.PrefixFrom(a, a.BitLen())); err != nil {
				return err
			}
		}
		for _, gw := range h.gateways() {
			route := netlink.Route{LinkIndex: here, Gw: gw.Addr().AsSlice(), Dst: everything(gw.Addr())}
			if err := netlink.RouteAdd(&route); err != nil {
				return fmt.Errorf("default route: %w", err)
			}
		}
		return nil
	})
}

// AwaitLink waits until the kernel says that the host's link works: it carries packets before, and a program that is
// told of changes of the network would be told of that one.
func (h *Host) AwaitLink(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		var state netlink.LinkOperState
		err := h.Do(func() error {
			link, err := netlink.LinkByName("uplink")
			if err == nil {
				state = link.Attrs().OperState
			}
			return err
		})
		if err != nil || state == netlink.OperUp {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("internet: the link of %s is %v", h.Name, state)
		}
	}
}

func indexOf(name string, index *int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find the link %s: %w", name, err)
	}
	*index = link.Attrs().Index
	return nil
}

func up(index int, addrs []netip.Prefix) error {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("find a link: %w", err)
	}
	for _, a := range addrs {
		if err := addAddr(index, a); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring a link up: %w", err)
	}
	return nil
}

func addAddr(index int, p netip.Prefix) error {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("find a link: %w", err)
	}
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add the address %v: %w", p, err)
	}
	return nil
}

// routesTo leads the host's further addresses to it.
func (h *Host) routesTo(index int) error {
	for _, a := range h.extra {
		via := h.Addr4
		if a.Is6() {
			via = h.Addr6
		}
		route := netlink.Route{LinkIndex: index, Dst: ipNet(netip.PrefixFrom(a, a.BitLen())), Gw: via.AsSlice()}
		if err := netlink.RouteAdd(&route); err != nil {
			return fmt.Errorf("route to %v: %w", a, err)
		}
	}
	return nil
}

// hijack makes every packet to port 53 that comes in from an interface end here, whatever its address: a rule leads
// it to a table in which all addresses are local. The sockets that answer set IP_TRANSPARENT.
func hijack(iface string, families Families) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		on     bool
		family int
		any    netip.Addr
	}{{families.v4(), unix.AF_INET, netip.IPv4Unspecified()}, {families.v6(), unix.AF_INET6, netip.IPv6Unspecified()}} {
		if !f.on {
			continue
		}
		route := netlink.Route{
			LinkIndex: lo.Attrs().Index, Dst: everything(f.any), Table: hijackTable,
			Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST,
		}
		if err := netlink.RouteAdd(&route); err != nil {
			return fmt.Errorf("table of plain DNS: %w", err)
		}
		rule := netlink.NewRule()
		rule.Family, rule.Table, rule.IifName, rule.Priority = f.family, hijackTable, iface, 100
		rule.Dport = netlink.NewRulePortRange(53, 53)
		if err := netlink.RuleAdd(rule); err != nil {
			return fmt.Errorf("rule for plain DNS: %w", err)
		}
	}
	return nil
}

// sysctls makes an interface quiet and ready at once: no router advertisements, no search for duplicate addresses,
// and no IPv6 where there shall be none.
func (h *Host) sysctls(iface string) error {
	v6 := "/proc/sys/net/ipv6/conf/" + iface + "/"
	if !h.in.Families.v6() {
		return sysctl(v6+"disable_ipv6", "1")
	}
	for _, s := range [][2]string{
		{"accept_ra", "0"},
		{"router_solicitations", "0"},
		{"dad_transmits", "0"}, // nobody else can have the address, and asking takes seconds
		{"accept_dad", "0"},
	} {
		if err := sysctl(v6+s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// Forward makes a router of the host.
func (h *Host) Forward() error { return forwarding(h.space) }

// forwarding makes a router of a namespace.
func forwarding(space *contain.Net) error {
	return space.Do(func() error {
		for _, s := range [][2]string{
			{"/proc/sys/net/ipv4/ip_forward", "1"},
			{"/proc/sys/net/ipv4/conf/all/rp_filter", "0"},
			{"/proc/sys/net/ipv4/conf/default/rp_filter", "0"},
			{"/proc/sys/net/ipv6/conf/all/forwarding", "1"},
		} {
			if err := sysctl(s[0], s[1]); err != nil {
				return err
			}
		}
		return nil
	})
}

func sysctl(path, value string) error {
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set %s: %w", path, err)
	}
	return nil
}

func everything(like netip.Addr) *net.IPNet {
	if like.Is4() {
		return ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	}
	return ipNet(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
