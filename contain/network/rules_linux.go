package network

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// What golang.org/x/sys does not name (linux/netfilter.h, linux/netfilter/nf_tables.h).
const (
	hookPrerouting = 0 // NF_INET_PRE_ROUTING
	hookOutput     = 3 // NF_INET_LOCAL_OUT
	verdictDrop    = 0 // NF_DROP
	verdictAccept  = 1 // NF_ACCEPT
	tproxyFamily   = 1 // NFTA_TPROXY_FAMILY
	tproxyAddr     = 2 // NFTA_TPROXY_REG_ADDR
	tproxyPort     = 3 // NFTA_TPROXY_REG_PORT

	priorityMangle = -150
	portDNS        = 53
)

const table = "watertight"

// rules is the firewall as messages of nf_tables: one transaction, which is in force wholly or not at all. As text it is
//
//	table inet watertight {
//	  chain sent {
//	    type filter hook output priority mangle; policy drop;
//	    ip daddr 127.0.0.0/8 accept; ip daddr INSIDE accept; the same for IPv6
//	    ip daddr 224.0.0.0/3 drop; ip6 daddr ff00::/8 drop
//	    meta l4proto tcp accept; meta l4proto udp accept
//	  }
//	  chain comes {
//	    type filter hook prerouting priority mangle; policy drop;
//	    meta l4proto tcp th dport 53 accept; the same for UDP
//	    ip daddr 127.0.0.0/8 accept; ip daddr INSIDE accept; the same for IPv6
//	    meta nfproto ipv4 tproxy ip to DOOR accept; the same for IPv6
//	  }
//	}
//
// What is dropped on its way out fails at once for who sends it, with EPERM.
func rules(families []family) []step {
	steps := []step{
		{"begin a transaction of the firewall", batch(unix.NFNL_MSG_BATCH_BEGIN)},
		{"make a table of the firewall", nft(unix.NFT_MSG_NEWTABLE).text(unix.NFTA_TABLE_NAME, table)},
		{"make a chain of the firewall", chain("sent", hookOutput)},
		{"make a chain of the firewall", chain("comes", hookPrerouting)},
	}
	add := func(chain, what string, expressions ...expression) {
		steps = append(steps, step{"make a rule of the firewall (" + what + ")", rule(chain, expressions)})
	}
	for _, f := range families {
		for _, own := range f.own() {
			add("sent", "own addresses", f.only(), f.to(own), verdict(verdictAccept))
		}
		add("sent", "multicast and broadcast", f.only(), f.to(f.many), verdict(verdictDrop))
	}
	add("sent", "TCP", l4proto(unix.IPPROTO_TCP), verdict(verdictAccept))
	add("sent", "UDP", l4proto(unix.IPPROTO_UDP), verdict(verdictAccept))
	add("comes", "DNS over TCP", l4proto(unix.IPPROTO_TCP), port(portDNS), verdict(verdictAccept))
	add("comes", "DNS over UDP", l4proto(unix.IPPROTO_UDP), port(portDNS), verdict(verdictAccept))
	for _, f := range families {
		for _, own := range f.own() {
			add("comes", "own addresses", f.only(), f.to(own), verdict(verdictAccept))
		}
		add("comes", "TPROXY", f.only(), f.tproxy(), verdict(verdictAccept))
	}
	return append(steps, step{"end a transaction of the firewall", batch(unix.NFNL_MSG_BATCH_END)})
}

// family is what differs between IPv4 and IPv6.
type family struct {
	protocol byte // of netfilter
	offset   uint32
	loopback netip.Prefix
	inside   netip.Addr
	many     netip.Prefix
	door     netip.AddrPort
}

var (
	ipv4 = family{unix.NFPROTO_IPV4, 16, netip.MustParsePrefix("127.0.0.0/8"), Inside4, netip.MustParsePrefix("224.0.0.0/3"), Door4}
	ipv6 = family{unix.NFPROTO_IPV6, 24, netip.MustParsePrefix("::1/128"), Inside6, netip.MustParsePrefix("ff00::/8"), Door6}
)

// own are the addresses of the program itself.
func (f family) own() []netip.Prefix {
	return []netip.Prefix{f.loopback, netip.PrefixFrom(f.inside, f.inside.BitLen())}
}

func batch(kind uint16) *message {
	m := newMessage(kind, 0, []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES})
	return m
}

func nft(kind uint16) *message {
	return newMessage(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_APPEND, []byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0})
}

// chain makes one that drops what no rule accepts.
func chain(name string, hook uint32) *message {
	priority := int32(priorityMangle)
	return nft(unix.NFT_MSG_NEWCHAIN).text(unix.NFTA_CHAIN_TABLE, table).text(unix.NFTA_CHAIN_NAME, name).
		nest(unix.NFTA_CHAIN_HOOK, func(m *message) {
			m.be32(unix.NFTA_HOOK_HOOKNUM, hook).be32(unix.NFTA_HOOK_PRIORITY, uint32(priority))
		}).be32(unix.NFTA_CHAIN_POLICY, verdictDrop).text(unix.NFTA_CHAIN_TYPE, "filter")
}

func rule(chain string, expressions []expression) *message {
	return nft(unix.NFT_MSG_NEWRULE).text(unix.NFTA_RULE_TABLE, table).text(unix.NFTA_RULE_CHAIN, chain).
		nest(unix.NFTA_RULE_EXPRESSIONS, func(m *message) {
			for _, e := range expressions {
				e(m)
			}
		})
}

// expression appends one or more of a rule's, which look at a packet one after the other.
type expression func(*message)

func (m *message) expression(name string, fill func(*message)) *message {
	return m.nest(unix.NFTA_LIST_ELEM, func(m *message) {
		m.text(unix.NFTA_EXPR_NAME, name).nest(unix.NFTA_EXPR_DATA, fill)
	})
}

func (m *message) meta(key uint32) *message {
	return m.expression("meta", func(m *message) {
		m.be32(unix.NFTA_META_KEY, key).be32(unix.NFTA_META_DREG, unix.NFT_REG_1)
	})
}

func (m *message) payload(base, offset, length uint32) *message {
	return m.expression("payload", func(m *message) {
		m.be32(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1).be32(unix.NFTA_PAYLOAD_BASE, base).
			be32(unix.NFTA_PAYLOAD_OFFSET, offset).be32(unix.NFTA_PAYLOAD_LEN, length)
	})
}

func (m *message) equal(value []byte) *message {
	return m.expression("cmp", func(m *message) {
		m.be32(unix.NFTA_CMP_SREG, unix.NFT_REG_1).be32(unix.NFTA_CMP_OP, unix.NFT_CMP_EQ).
			nest(unix.NFTA_CMP_DATA, func(m *message) { m.add(unix.NFTA_DATA_VALUE, value) })
	})
}

func (m *message) set(register uint32, value []byte) *message {
	return m.expression("immediate", func(m *message) {
		m.be32(unix.NFTA_IMMEDIATE_DREG, register).
			nest(unix.NFTA_IMMEDIATE_DATA, func(m *message) { m.add(unix.NFTA_DATA_VALUE, value) })
	})
}

func (f family) only() expression {
	return func(m *message) { m.meta(unix.NFT_META_NFPROTO).equal([]byte{f.protocol}) }
}

func l4proto(protocol byte) expression {
	return func(m *message) { m.meta(unix.NFT_META_L4PROTO).equal([]byte{protocol}) }
}

func port(n uint16) expression {
	return func(m *message) {
		m.payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2).equal(binary.BigEndian.AppendUint16(nil, n))
	}
}

// to looks at the destination.
func (f family) to(p netip.Prefix) expression {
	return func(m *message) {
		length := p.Addr().BitLen() / 8
		m.payload(unix.NFT_PAYLOAD_NETWORK_HEADER, f.offset, uint32(length))
		if p.Bits() < p.Addr().BitLen() {
			mask := make([]byte, length)
			for i := range p.Bits() {
				mask[i/8] |= 0x80 >> (i % 8)
			}
			m.expression("bitwise", func(m *message) {
				m.be32(unix.NFTA_BITWISE_SREG, unix.NFT_REG_1).be32(unix.NFTA_BITWISE_DREG, unix.NFT_REG_1).be32(unix.NFTA_BITWISE_LEN, uint32(length)).
					nest(unix.NFTA_BITWISE_MASK, func(m *message) { m.add(unix.NFTA_DATA_VALUE, mask) }).
					nest(unix.NFTA_BITWISE_XOR, func(m *message) { m.add(unix.NFTA_DATA_VALUE, make([]byte, length)) })
			})
		}
		m.equal(p.Addr().AsSlice())
	}
}

// tproxy hands the packet to the door's socket. Where there is none, or the packet is neither TCP nor UDP, the rest of the rule
// does not come about.
func (f family) tproxy() expression {
	return func(m *message) {
		m.set(unix.NFT_REG_1, f.door.Addr().AsSlice())
		m.set(unix.NFT_REG_2, binary.BigEndian.AppendUint16(nil, f.door.Port()))
		m.expression("tproxy", func(m *message) {
			m.be32(tproxyFamily, uint32(f.protocol)).be32(tproxyAddr, unix.NFT_REG_1).be32(tproxyPort, unix.NFT_REG_2)
		})
	}
}

func verdict(code uint32) expression {
	return func(m *message) {
		m.expression("immediate", func(m *message) {
			m.be32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT).
				nest(unix.NFTA_IMMEDIATE_DATA, func(m *message) {
					m.nest(unix.NFTA_DATA_VERDICT, func(m *message) { m.be32(unix.NFTA_VERDICT_CODE, code) })
				})
		})
	}
}
