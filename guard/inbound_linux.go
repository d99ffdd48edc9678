package guard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxSockets bounds how much of a table of sockets is read, in octets.
const maxSockets = 256 << 20

// Inbound gives the connections of TCP that others opened to this host, in the calling thread's network: those at an address and port at
// which this host listens. What is between addresses of loopback is not among them. Of more than 65,536 the others are left out, and end.
func Inbound() ([]Flow, error) {
	listens := map[netip.AddrPort]bool{}
	var all []Flow
	for _, path := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(path, "6") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("which connections there are cannot be known: %w", err)
		}
		flows, err := readSockets(io.LimitReader(f, maxSockets), listens)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, flows...)
	}
	return inbound(all, listens), nil
}

// inbound are the connections where is listened, as many as can be kept. Who listens at :: may be who listens for IPv4 too.
func inbound(all []Flow, listens map[netip.AddrPort]bool) []Flow {
	all = slices.DeleteFunc(all, func(f Flow) bool {
		port, four := f.Local.Port(), f.Local.Addr().Is4()
		return !listens[f.Local] && !listens[netip.AddrPortFrom(netip.IPv6Unspecified(), port)] &&
			!(four && listens[netip.AddrPortFrom(netip.IPv4Unspecified(), port)])
	})
	return all[:min(len(all), maxKept)]
}

// States of a socket (net/tcp_states.h).
const (
	tcpSynSent = 2
	tcpWait    = 6
	tcpClose   = 7
	tcpListen  = 10
)

// readSockets reads a table of sockets (proc_net_tcp in the kernel's documentation), and notes where is listened.
func readSockets(r io.Reader, listens map[netip.AddrPort]bool) ([]Flow, error) {
	var out []Flow
	s := bufio.NewScanner(r)
	s.Scan() // the names of the columns
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 4 {
			return nil, fmt.Errorf("%q is no line of such a table", s.Text())
		}
		local, ok := socketAddress(fields[1])
		remote, ok2 := socketAddress(fields[2])
		state, err := strconv.ParseUint(fields[3], 16, 8)
		if !ok || !ok2 || err != nil {
			return nil, fmt.Errorf("%q is no line of such a table", s.Text())
		}
		switch {
		case state == tcpListen:
			listens[local] = true
		case state == tcpSynSent || state == tcpWait || state == tcpClose:
		case remote.Addr().IsLoopback() || local.Addr().Is4() != remote.Addr().Is4():
		default:
			out = append(out, Flow{local, remote})
		}
	}
	return out, s.Err()
}

// socketAddress reads an address as words of the machine's order, and a port.
func socketAddress(s string) (netip.AddrPort, bool) {
	address, port, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(address) != 8 && len(address) != 32 {
		return netip.AddrPort{}, false
	}
	var b []byte
	for ; address != ""; address = address[8:] {
		word, err := strconv.ParseUint(address[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, false
		}
		b = binary.NativeEndian.AppendUint32(b, uint32(word))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}
