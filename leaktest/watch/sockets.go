package watch

import (
	"bufio"
	"encoding/hex"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Socket is a socket of this network namespace.
type Socket struct {
	Proto         string         `json:"proto"` // tcp or udp
	Local, Remote netip.AddrPort // Remote is not valid where there is none
	Listening     bool           `json:"listening"` // of TCP
	Inode         uint64         `json:"-"`
	UID           int            `json:"-"`
}

// String gives the socket as in "udp 192.0.2.1:4000 > 192.0.2.53:53".
func (s Socket) String() string {
	text := s.Proto + " " + s.Local.String()
	if s.Remote.IsValid() {
		text += " > " + s.Remote.String()
	}
	return text
}

// hears says that others begin to speak to the socket.
func (s Socket) hears() bool { return s.Listening || s.Proto == "udp" && !s.Remote.IsValid() }

// Suspicious gives those of sockets that lead to where names are asked for, or, unless they are doors, hear there. An encrypted
// resolver is in its place.
func Suspicious(sockets []Socket, doors, resolvers []netip.AddrPort) (found []Socket) {
	for _, s := range sockets {
		remote := ports[s.Remote.Port()]
		switch {
		case remote == DoT && slices.Contains(resolvers, s.Remote):
		case s.Remote.IsValid() && remote != "" && !atDoor(s, doors):
			found = append(found, s)
		case s.hears() && ports[s.Local.Port()] != "" && !toDoor(s.Local, doors):
			found = append(found, s)
		}
	}
	return found
}

// Beyond gives those of sockets that lead to an address which is none of those known, and not on this host's loopback.
func Beyond(sockets []Socket, known func(netip.AddrPort) bool) (found []Socket) {
	for _, s := range sockets {
		if s.Remote.IsValid() && !s.Remote.Addr().IsLoopback() && !known(s.Remote) {
			found = append(found, s)
		}
	}
	return found
}

// atDoor says that a connection is one of a client on this host with a door.
func atDoor(s Socket, doors []netip.AddrPort) bool {
	here := s.Remote.Addr().IsLoopback() || s.Remote.Addr() == s.Local.Addr() // what is not, is another host's
	return toDoor(s.Local, doors) || here && toDoor(s.Remote, doors)
}

// toDoor says that an address of this host is a door's.
func toDoor(a netip.AddrPort, doors []netip.AddrPort) bool {
	return slices.ContainsFunc(doors, func(d netip.AddrPort) bool {
		return plain(d) == a || d.Port() == a.Port() && d.Addr().IsUnspecified() && ordinary(a.Addr())
	})
}

// ordinary says that a door at every address is met at this one of this host. Stub resolvers have others on loopback.
func ordinary(a netip.Addr) bool {
	return !a.IsLoopback() || a == netip.IPv6Loopback() || a == netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// Limits of a table.
const (
	maxTable = 1 << 17 // lines that are read
	maxLine  = 1024    // octets of one
)

// readTable reads a list of the kernel's, /proc/net/tcp and the like (proc_pid_net(5)). What is beyond the limits, or cannot be read,
// makes cut true.
func readTable(r io.Reader, proto string) (sockets []Socket, cut bool) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxLine), maxLine)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) > 0 && f[0] == "sl" { // the first line
			continue
		}
		if len(sockets) == maxTable {
			return sockets, true
		}
		s, ok := readSocket(f, proto)
		if !ok {
			cut = true
			continue
		}
		sockets = append(sockets, s)
	}
	return sockets, cut || lines.Err() != nil
}

// readSocket reads one line's fields: number, local, remote, state, queues, timer, retransmissions, user, time-out, inode.
func readSocket(f []string, proto string) (s Socket, ok bool) {
	if len(f) < 10 {
		return s, false
	}
	s.Proto = proto
	if s.Local, ok = kernelAddr(f[1]); !ok {
		return s, false
	}
	if s.Remote, ok = kernelAddr(f[2]); !ok {
		return s, false
	}
	if s.Remote.Port() == 0 {
		s.Remote = netip.AddrPort{}
	}
	s.Listening = proto == "tcp" && f[3] == "0A" // TCP_LISTEN
	var err, err2 error
	s.UID, err = strconv.Atoi(f[7])
	s.Inode, err2 = strconv.ParseUint(f[9], 10, 64)
	return s, err == nil && err2 == nil
}

// kernelAddr reads an address as the kernel of a little-endian machine writes it: each 32 bits with the last octet first.
func kernelAddr(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	if err != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), true
}
