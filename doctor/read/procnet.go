package read

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// Socket is a line of /proc/net/tcp, tcp6, udp or udp6: proc_pid_net(5).
type Socket struct {
	Proto  string // "tcp" or "udp"
	Local  netip.AddrPort
	Remote netip.AddrPort // of port 0 where there is none
	State  SocketState
	UID    int
	Inode  uint64 // 0 where the socket belongs to no process any more
}

// SocketState is the kernel's number of a state, include/net/tcp_states.h.
type SocketState uint8

// The states that matter here. A UDP socket is established when it is connected, and else closed.
const (
	Established SocketState = 1
	SynSent     SocketState = 2
	TimeWait    SocketState = 6
	Closed      SocketState = 7
	Listening   SocketState = 10
)

// maxTable bounds what is kept of one table.
const maxTable = 40_000

// ParseSockets reads a table of sockets and gives those that are wanted; proto is "tcp" or "udp", for both families. Addresses of IPv4 in
// IPv6 become IPv4. What is wanted beyond 40,000 is left out, and cut is true.
func ParseSockets(proto string, b []byte, want func(Socket) bool) (all []Socket, cut bool) {
	lines(b, func(n int, line string) {
		f := strings.Fields(line)
		if n == 1 || len(f) < 10 || cut {
			return
		}
		local, ok1 := hexEndpoint(f[1])
		remote, ok2 := hexEndpoint(f[2])
		state, err1 := strconv.ParseUint(f[3], 16, 8)
		uid, err2 := strconv.Atoi(f[7])
		inode, err3 := strconv.ParseUint(f[9], 10, 64)
		if !ok1 || !ok2 || err1 != nil || err2 != nil || err3 != nil {
			return
		}
		s := Socket{proto, local, remote, SocketState(state), uid, inode}
		if !want(s) {
			return
		}
		if len(all) == maxTable {
			cut = true
			return
		}
		all = append(all, s)
	})
	return all, cut
}

// hexEndpoint reads "0100007F:0035": each 32 bits of the address in the host's order, which is little-endian on all that we build for, and
// the port in the network's.
func hexEndpoint(s string) (netip.AddrPort, bool) {
	a, p, ok := strings.Cut(s, ":")
	if !ok {
		return netip.AddrPort{}, false
	}
	port, err := strconv.ParseUint(p, 16, 16)
	addr, ok := hexAddr(a)
	return netip.AddrPortFrom(addr, uint16(port)), ok && err == nil
}

func hexAddr(s string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.Addr{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.LittleEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return addr.Unmap(), ok
}

// ParseUnixListeners reads /proc/net/unix and gives the paths of the sockets on which somebody listens or takes datagrams, each once and in
// order. Abstract sockets and those without a name are left out.
func ParseUnixListeners(b []byte) []string {
	const acceptsConnections = 0x10000 // __SO_ACCEPTCON
	var (
		paths []string
		seen  = map[string]bool{}
	)
	lines(b, func(_ int, line string) {
		// Num RefCount Protocol Flags Type St Inode Path, and a path may have spaces.
		f, rest := make([]string, 0, 7), line
		for len(f) < 7 {
			rest = strings.TrimLeft(rest, " ")
			word, after, ok := strings.Cut(rest, " ")
			if !ok {
				return
			}
			f, rest = append(f, word), after
		}
		flags, err := strconv.ParseUint(f[3], 16, 32)
		if err != nil || !strings.HasPrefix(rest, "/") || seen[rest] || len(seen) == maxTable {
			return
		}
		const datagram = "0002"
		if flags&acceptsConnections == 0 && f[4] != datagram {
			return
		}
		seen[rest] = true
		paths = append(paths, rest)
	})
	return paths
}

// DefaultRoutes6 reads /proc/net/ipv6_route and gives the interfaces over which there is a default route, each once. Routes that refuse
// (RTF_REJECT, as on a host without IPv6), and those over lo, are none.
func DefaultRoutes6(b []byte) []string {
	const reject, up = 0x0200, 0x0001
	var (
		found []string
		seen  = map[string]bool{"lo": true}
	)
	lines(b, func(_ int, line string) {
		// destination, its length, source, its length, next hop, metric, references, uses, flags, interface
		f := strings.Fields(line)
		if len(f) != 10 || f[1] != "00" || strings.Trim(f[0], "0") != "" || seen[f[9]] || len(found) == maxServers {
			return
		}
		flags, err := strconv.ParseUint(f[8], 16, 32)
		if err != nil || flags&reject != 0 || flags&up == 0 {
			return
		}
		seen[f[9]] = true
		found = append(found, f[9])
	})
	return found
}
