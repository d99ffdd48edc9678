package guard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"watertight/wire"
)

// list asks the kernel what it has of the guard, and nft what stands in it.
func (g *Guard) list(ctx context.Context) (found, error) {
	there, err := tables()
	if err != nil {
		return found{}, err
	}
	unread := found{inet: slices.Contains(there, "inet"), netdev: slices.Contains(there, "netdev")}
	var listings [][]byte
	for _, family := range there {
		b, err := g.run(ctx, "", "-j", "list", "table", family, table)
		if errors.Is(err, errTooMuch) { // it is not what was loaded
			unread.bad = err.Error()
			return unread, nil
		}
		if err != nil {
			return found{}, err
		}
		listings = append(listings, b)
	}
	f, err := parse(listings...)
	if err != nil {
		unread.bad = err.Error()
		return unread, nil
	}
	if f.netdev {
		f.uplinks, err = guarded()
	}
	return f, err
}

// tables gives the families in which there is a table of the guard: inet, netdev.
func tables() ([]string, error) {
	answer, err := nfTables(unix.NFT_MSG_GETTABLE, unix.NFPROTO_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("which tables there are cannot be known: %w", err)
	}
	var out []string
	for _, family := range []struct {
		number byte
		name   string
	}{{unix.NFPROTO_INET, "inet"}, {unix.NFPROTO_NETDEV, "netdev"}} {
		for _, m := range answer {
			if m.Data[0] == family.number && text(attributesOf(m.Data[4:])[unix.NFTA_TABLE_NAME]) == table {
				out = append(out, family.name)
				break
			}
		}
	}
	return out, nil
}

// nfTables asks nf_tables for all that it has of a kind (linux/netfilter/nfnetlink.h).
func nfTables(kind uint16, family byte) ([]wire.NetlinkAnswer, error) {
	request := routeRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, 4)
	request[unix.SizeofNlMsghdr] = family
	answer, err := wire.NetlinkDump(unix.NETLINK_NETFILTER, request)
	if errors.Is(err, unix.EPERM) {
		return nil, ErrRights
	}
	if err != nil {
		return nil, err
	}
	for _, m := range answer {
		if m.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < 4 {
			return nil, fmt.Errorf("the kernel answers with a message of another kind, %d", m.Type)
		}
	}
	return answer, nil
}

// guarded asks the kernel on which devices the chain is, which nft does not tell as JSON.
func guarded() ([]string, error) {
	answer, err := nfTables(unix.NFT_MSG_GETCHAIN, unix.NFPROTO_NETDEV)
	if err != nil {
		return nil, fmt.Errorf("which devices are looked at cannot be known: %w", err)
	}
	var out []string
	for _, m := range answer {
		if m.Data[0] != unix.NFPROTO_NETDEV {
			continue
		}
		chain := attributesOf(m.Data[4:])
		if text(chain[unix.NFTA_CHAIN_TABLE]) == table && text(chain[unix.NFTA_CHAIN_NAME]) == "egress" {
			out = append(out, devices(chain[unix.NFTA_CHAIN_HOOK])...)
		}
	}
	slices.Sort(out)
	return out, nil
}

// nftaHookDevs is what golang.org/x/sys does not name (linux/netfilter/nf_tables.h): devices one after the other, each an attribute.
const nftaHookDevs = 4

// devices gives those of a chain's hook.
func devices(hook []byte) []string {
	var out []string
	for b := attributesOf(hook)[nftaHookDevs]; len(b) >= unix.SizeofRtAttr; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			break
		}
		out = append(out, text(b[unix.SizeofRtAttr:n]))
		b = b[min(len(b), (n+3)&^3):]
	}
	return out
}

// text is an attribute that is one.
func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }
