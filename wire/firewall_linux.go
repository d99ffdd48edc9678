package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// WatchFirewall calls changed, from one goroutine, when somebody has changed tables of nf_tables that have this name, of whatever
// family, in the network namespace of the calling thread: rules, chains, sets, or that they are gone. More may have happened than
// it is called for. It needs CAP_NET_ADMIN. It gives nil when ctx ends, and otherwise the reason why it can watch no longer.
func WatchFirewall(ctx context.Context, table string, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("wire: firewall socket: %w", err)
	}
	w := &networkWatch{f: os.NewFile(uintptr(fd), "firewall socket")}
	defer w.close()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}); err != nil {
		return fmt.Errorf("wire: firewall socket: %w", err)
	}
	defer context.AfterFunc(ctx, w.close)()
	for {
		messages, err := w.read()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // more happened than there was room for
			changed()
			continue
		case err != nil:
			return fmt.Errorf("wire: firewall socket: %w", err)
		}
		for _, m := range messages {
			if concerns(m, table) {
				changed()
				break
			}
		}
	}
}

// nftablesTable is the attribute with the name of the table in every message about what is in one (linux/netfilter/nf_tables.h:
// NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE, NFTA_SET_ELEM_LIST_TABLE, NFTA_OBJ_TABLE).
const nftablesTable = 1

// concerns says whether a message is about a table of a name, or may be.
func concerns(m syscall.NetlinkMessage, table string) bool {
	const family = 4 // octets of what stands before the attributes (struct nfgenmsg)
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN || len(m.Data) < family {
		return false
	}
	for b := m.Data[family:]; len(b) >= unix.SizeofNlAttr; {
		length, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)
		if length < unix.SizeofNlAttr || length > len(b) {
			return true // it cannot be read
		}
		if kind == nftablesTable {
			return string(bytes.TrimRight(b[unix.SizeofNlAttr:length], "\x00")) == table
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return true
}
