package guard

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"watertight/wire"
)

// list asks the kernel, by nft, what it has of the guard.
func (g *Guard) list(ctx context.Context) (found, error) {
	b, err := g.run(ctx, "", "-j", "list", "tables")
	if err != nil {
		return found{}, err
	}
	var all struct {
		Nftables []struct {
			Table struct{ Family, Name string }
		}
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return found{}, fmt.Errorf("what nft tells of tables cannot be read: %w", err)
	}
	var listings [][]byte
	for _, family := range []string{"inet", "netdev"} {
		for _, t := range all.Nftables {
			if t.Table.Family == family && t.Table.Name == table {
				b, err := g.run(ctx, "", "-j", "list", "table", family, table)
				if err != nil {
					return found{}, err
				}
				listings = append(listings, b)
			}
		}
	}
	f, err := parse(listings...)
	if err == nil && f.netdev {
		f.uplinks, err = guarded()
	}
	return f, err
}

// guarded asks the kernel on which devices the chain is, which nft does not tell as JSON.
func guarded() ([]string, error) {
	request := routeRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETCHAIN, 4)
	request[unix.SizeofNlMsghdr] = unix.NFPROTO_NETDEV
	answer, err := wire.NetlinkDump(unix.NETLINK_NETFILTER, request)
	if errors.Is(err, unix.EPERM) {
		return nil, ErrRights
	}
	if err != nil {
		return nil, fmt.Errorf("which devices are looked at cannot be known: %w", err)
	}
	var out []string
	for _, m := range answer {
		if m.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWCHAIN || len(m.Data) < 4 || m.Data[0] != unix.NFPROTO_NETDEV {
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
