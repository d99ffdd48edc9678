package guard

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Rules are what the guard is armed with.
type Rules struct {
	Mark    uint32         // of what Watertight itself sends; not 0, and without the bit 0x40000000
	Allow   []netip.Prefix // networks that everybody may reach, but for ports at which names are asked for
	Uplinks []string       // devices that lead out of this host
	Kept    []Flow         // connections that others opened to this host, and that go on
}

// Flow is a connection of TCP.
type Flow struct{ Local, Remote netip.AddrPort }

const (
	table  = "watertight_guard"
	passed = 0x40000000 // the bit of the mark that says that a packet may leave
	label  = 119        // of connections that others opened to this host, in conntrack

	maxAllow   = 4096
	maxUplinks = 256
	maxKept    = 65536
	maxName    = 15 // of a device, in octets (IFNAMSIZ)
)

// Check refuses what cannot be loaded, or would not hold.
func (r Rules) Check() error {
	switch {
	case r.Mark == 0:
		return fmt.Errorf("the mark is 0, which every packet has")
	case r.Mark&passed != 0:
		return fmt.Errorf("the mark %#x has the bit %#x, by which the guard knows what has passed", r.Mark, passed)
	case len(r.Allow) > maxAllow:
		return fmt.Errorf("%d networks are allowed, and at most %d can be", len(r.Allow), maxAllow)
	case len(r.Uplinks) > maxUplinks:
		return fmt.Errorf("%d devices lead out of this host, and at most %d can be guarded", len(r.Uplinks), maxUplinks)
	case len(r.Kept) > maxKept:
		return fmt.Errorf("%d connections are to go on, and at most %d can", len(r.Kept), maxKept)
	}
	for _, p := range r.Allow {
		if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return fmt.Errorf("%q is not a network", p)
		}
	}
	for _, d := range r.Uplinks {
		if !validDevice(d) {
			return fmt.Errorf("the device %q has a name that cannot be written in a rule; give it another one (`ip link set dev ... name ...`)", d)
		}
	}
	for _, f := range r.Kept {
		if !f.Local.IsValid() || !f.Remote.IsValid() || f.Local.Addr().Is4() != f.Remote.Addr().Is4() {
			return fmt.Errorf("%s to %s is not a connection", f.Local, f.Remote)
		}
	}
	return nil
}

// validDevice says whether a name can stand between quotes, where an asterisk at its end would mean others too.
func validDevice(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune("\"\\*/", c)
	})
}

// removal takes both tables away, whether they are there or not.
const removal = "table inet " + table + " {}\ndelete table inet " + table + "\ntable netdev " + table + " {}\ndelete table netdev " + table + "\n"

// Text gives the rules as nft reads them (nft(8)). It is one transaction: what was there before is replaced without a gap.
func (r Rules) Text() string { return r.text(Counters{}) }

func (r Rules) text(c Counters) string {
	var four, six, kept4, kept6, uplinks []string
	for _, p := range r.Allow {
		if p = p.Masked(); p.Addr().Is4() {
			four = append(four, p.String())
		} else {
			six = append(six, p.String())
		}
	}
	for _, f := range r.Kept {
		flow := fmt.Sprintf("%s . %d . %s . %d", f.Local.Addr().WithZone(""), f.Local.Port(), f.Remote.Addr().WithZone(""), f.Remote.Port())
		if f.Local.Addr().Is4() {
			kept4 = append(kept4, flow)
		} else {
			kept6 = append(kept6, flow)
		}
	}
	for _, d := range r.Uplinks {
		uplinks = append(uplinks, `"`+d+`"`)
	}
	return strings.NewReplacer(
		"MARK_PASSED", fmt.Sprintf("%#x", r.Mark|passed), "MARK", fmt.Sprintf("%#x", r.Mark),
		"BIT_OFF", fmt.Sprintf("%#x", ^uint32(passed)), "BIT", fmt.Sprintf("%#x", passed), "LABEL", fmt.Sprint(label),
		"COUNTERS", counters(c), "RAW", fmt.Sprintf("counter raw { packets %d bytes 0; }", c.Raw),
		"UPLINKS", elements(uplinks), "ALLOW4", elements(four), "ALLOW6", elements(six), "KEPT4", elements(kept4), "KEPT6", elements(kept6),
		"EGRESS\n", egress(uplinks), "REMOVAL\n", removal,
	).Replace(template)
}

func elements(all []string) string {
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return " elements = { " + strings.Join(slices.Compact(all), ", ") + " };"
}

// egress is the chain on the devices, of which there is none without one.
func egress(uplinks []string) string {
	if len(uplinks) == 0 {
		return ""
	}
	return "\tchain egress {\n\t\ttype filter hook egress devices = { " + strings.Join(uplinks, ", ") + " } priority filter; policy drop;\n\t\tgoto frames\n\t}\n"
}

func counters(c Counters) string {
	var b strings.Builder
	for _, of := range []struct {
		name string
		n    uint64
	}{{"dns", c.DNS}, {"dot", c.DoT}, {"local_names", c.LocalNames}, {"forwarded", c.Forwarded}, {"other", c.Other}} {
		fmt.Fprintf(&b, "\tcounter %s { packets %d bytes 0; }\n", of.name, of.n)
	}
	return strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), "\t")
}

// template has words in capitals where something is filled in.
const template = `# What leaves this host is what Watertight sends, which bears the mark MARK, what the link needs, and what is allowed.
# A packet that may leave gets the bit BIT; what comes to a device without it went past these chains, and goes no further.
REMOVAL
table inet watertight_guard {
	COUNTERS
	set uplinks { type ifname;UPLINKS }
	set allow4 { type ipv4_addr; flags interval; auto-merge;ALLOW4 }
	set allow6 { type ipv6_addr; flags interval; auto-merge;ALLOW6 }
	set kept4 { type ipv4_addr . inet_service . ipv4_addr . inet_service;KEPT4 }
	set kept6 { type ipv6_addr . inet_service . ipv6_addr . inet_service;KEPT6 }

	chain pass {
		meta mark set meta mark | BIT accept
	}
	chain refuse {
		meta l4proto tcp reject with tcp reset
		reject with icmpx admin-prohibited
	}

	# Watertight asks nobody for names in clear. What already had the bit is wrapped for a tunnel of the kernel.
	chain ours {
		meta l4proto { tcp, udp } th dport 53 counter name "dns" goto refuse
		meta l4proto { tcp, udp } th dport { 137, 5353, 5355 } counter name "local_names" goto refuse
		meta l4proto { tcp, udp } goto pass
		meta mark MARK_PASSED meta l4proto { ipencap, ipv6, gre, esp, ah } goto pass
		counter name "other" goto refuse
	}

	# What an interface needs to have an address and neighbours.
	chain link {
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 goto pass
		icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } ip6 hoplimit 1 ip6 daddr ff00::/8 goto pass
		ip protocol igmp ip ttl 1 ip daddr 224.0.0.0/4 goto pass
		udp sport 68 udp dport 67 ip daddr { 255.255.255.255, 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16 } goto pass
		udp sport 546 udp dport 547 ip6 daddr { ff02::1:2, fe80::/10 } goto pass
	}

	# Where the address is not all that says where a packet goes, or the port cannot be read.
	chain odd {
		ip hdrlength > 5 drop
		exthdr rt exists drop
		ip frag-off & 0x3fff != 0 drop
		exthdr frag exists drop
	}

	chain input {
		type filter hook input priority filter + 10; policy accept;
		iif != "lo" jump opened
	}
	# A connection that others open from where they are said to be is known by a label from then on, and its answers may leave. By an
	# uplink everybody may come; a container that says to be somebody else would have the host answer that one.
	chain opened {
		tcp flags & (fin | syn | rst | ack) == syn ct state new iifname @uplinks ct label set LABEL
		tcp flags & (fin | syn | rst | ack) == syn ct state new fib saddr . iif oif exists ct label set LABEL
	}

	chain output {
		type filter hook output priority filter + 10; policy drop;
		meta mark & BIT != 0 meta mark != MARK_PASSED meta mark set meta mark & BIT_OFF
		fib daddr . mark type local accept
		meta mark { MARK, MARK_PASSED } goto ours
		jump link
		# With IPv4 fib does not heed the mark: where what has one goes in the end, the chain postrouting sees.
		meta nfproto ipv4 meta mark != 0 accept
		jump odd
		meta l4proto { tcp, udp } th dport 53 counter name "dns" goto refuse
		meta l4proto { tcp, udp } th dport 853 counter name "dot" goto refuse
		meta l4proto { tcp, udp } th dport { 137, 5353, 5355 } counter name "local_names" goto refuse
		jump allowed
		oifname != @uplinks jump answers
		icmp type { echo-reply, destination-unreachable, time-exceeded, parameter-problem } drop
		icmpv6 type { echo-reply, destination-unreachable, packet-too-big, time-exceeded, parameter-problem } drop
		counter name "other" goto refuse
	}
	chain allowed {
		ct state established ct direction reply ct label LABEL goto pass
		ip saddr . tcp sport . ip daddr . tcp dport @kept4 goto pass
		ip6 saddr . tcp sport . ip6 daddr . tcp dport @kept6 goto pass
		ip daddr @allow4 goto pass
		ip6 daddr @allow6 goto pass
	}
	# A container whose packets are refused is told so.
	chain answers {
		tcp flags & rst == rst goto pass
		icmp type destination-unreachable goto pass
		icmpv6 type { destination-unreachable, packet-too-big } goto pass
	}
	# What is to stay on this host, and goes out by a device all the same: a program may name one for an address of this host.
	chain postrouting {
		type filter hook postrouting priority filter + 10; policy accept;
		meta mark & BIT != 0 accept
		oif "lo" accept
		meta oifkind "vrf" accept
		jump odd
		meta l4proto { tcp, udp } th dport 53 counter name "dns" drop
		meta l4proto { tcp, udp } th dport 853 counter name "dot" drop
		meta l4proto { tcp, udp } th dport { 137, 5353, 5355 } counter name "local_names" drop
		jump allowed
		counter name "other" drop
	}

	chain forward {
		type filter hook forward priority filter + 10; policy drop;
		meta mark & BIT != 0 meta mark set meta mark & BIT_OFF
		jump opened
		jump odd
		meta l4proto { tcp, udp } th dport { 53, 137, 853, 5353, 5355 } counter name "forwarded" goto refuse
		ct state established ct direction reply ct label LABEL goto pass
		ip daddr @allow4 goto pass
		ip6 daddr @allow6 goto pass
		counter name "forwarded" goto refuse
	}
}

table netdev watertight_guard {
	RAW
	# Besides what has the bit: ARP, EAPOL, LLDP, LACP and what else no router passes on, the control of PPPoE, spanning trees, DHCP.
	chain frames {
		meta mark & BIT != 0 accept
		@ll,96,16 { 0x0806, 0x8809, 0x8863, 0x888e, 0x88c7, 0x88b5, 0x88cc, 0x88f7, 0x8902 } accept
		@ll,96,16 { 0x8100, 0x88a8 } @ll,128,16 { 0x0806, 0x8863 } accept
		@ll,96,16 0x8864 @ll,160,16 >= 0x8000 accept
		@ll,96,16 { 0x8100, 0x88a8 } @ll,128,16 0x8864 @ll,192,16 >= 0x8000 accept
		@ll,96,16 <= 1500 @ll,112,16 0x4242 accept
		@ll,96,16 0x0800 ip daddr { 255.255.255.255, 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16 } udp sport 68 udp dport 67 accept
		@ll,96,16 { 0x8100, 0x88a8 } @ll,128,24 0x080045 @ll,194,14 0 @ll,216,8 17 @ll,272,32 0xffffffff @ll,304,32 0x00440043 accept
		counter name "raw" drop
	}
EGRESS
}
`
