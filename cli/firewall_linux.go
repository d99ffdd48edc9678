package cli

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"watertight/doctor"
	"watertight/doctor/read"
	"watertight/wire"
)

// firewall asks the kernel what it has of nf_tables, in the network of this process. Where that may not be known, it says why.
func firewall() (*doctor.Firewall, string) {
	f := new(doctor.Firewall)
	for _, kind := range []uint16{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE} {
		answer, err := wire.NetlinkDump(unix.NETLINK_NETFILTER, nftRequest(kind))
		switch {
		case errors.Is(err, unix.EPERM):
			return nil, "it tells them to root alone"
		case err != nil:
			return nil, oneLine(err)
		}
		for _, m := range answer {
			if m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
				return nil, fmt.Sprintf("it answered with a message of another kind, %d", m.Type)
			}
			if t, ok := read.ParseFirewallTable(m.Type, m.Data); ok {
				f.Tables = append(f.Tables, t)
			}
			if c, ok := read.ParseFirewallChain(m.Type, m.Data); ok {
				f.Chains = append(f.Chains, c)
			}
			if r, ok := read.ParseFirewallRule(m.Type, m.Data); ok {
				f.Rules = append(f.Rules, r)
			}
		}
	}
	return f, ""
}

// nftRequest asks nf_tables for all that it has of a kind, in every family (linux/netfilter/nfnetlink.h).
func nftRequest(kind uint16) []byte {
	m := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+4)
	m = append(m, unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, 0)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], unix.NFNL_SUBSYS_NFTABLES<<8|kind)
	return m
}
