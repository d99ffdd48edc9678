package internet

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// listening says whether some socket listens at an address, or at every address, in the calling thread's network
// (proc_pid_net(5): numbers in hexadecimal, addresses in words of the machine's byte order, state 0A is LISTEN).
func listening(at netip.AddrPort) bool {
	for _, path := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != "0A" {
				continue
			}
			addr, port, ok := procAddr(fields[1])
			if ok && port == at.Port() && (addr.IsUnspecified() || addr.Unmap() == at.Addr()) {
				return true
			}
		}
	}
	return false
}

func procAddr(s string) (addr netip.Addr, port uint16, ok bool) {
	host, service, ok := strings.Cut(s, ":")
	number, err := strconv.ParseUint(service, 16, 16)
	b, err2 := hex.DecodeString(host)
	if !ok || err != nil || err2 != nil {
		return addr, 0, false
	}
	for word := range slices.Chunk(b, 4) {
		if littleEndian {
			slices.Reverse(word)
		}
	}
	addr, ok = netip.AddrFromSlice(b)
	return addr, uint16(number), ok
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
