package hull

import (
	"net/netip"
	"strings"
)

// nsswitch is the host's /etc/nsswitch.conf with the services that look names of hosts up replaced by the file of
// hosts and DNS (nsswitch.conf(5)): every other one speaks to a daemon, or to the network past DNS.
func nsswitch(host string) string {
	var b strings.Builder
	for line := range strings.Lines(host) {
		key, _, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok && (strings.TrimSpace(key) == "hosts" || strings.TrimSpace(key) == "networks") {
			continue
		}
		b.WriteString(line)
	}
	if text := b.String(); text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
	b.WriteString("hosts: files dns\nnetworks: files\n")
	return b.String()
}

// hosts is the host's /etc/hosts (hosts(5)) with the lines alone whose addresses lead nowhere but back: loopback,
// unspecified (as lists against trackers have them) and multicast ones. Any other line would have a name answered
// outside its channel, by the program's own library. The host's own name stands for loopback.
func hosts(host, hostname string) string {
	var b strings.Builder
	named := false
	for line := range strings.Lines(host) {
		text, _, _ := strings.Cut(line, "#")
		fields := strings.Fields(text)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil || !inward(addr) {
			continue
		}
		for _, name := range fields[1:] {
			named = named || strings.EqualFold(name, hostname)
		}
		b.WriteString(strings.Join(fields, " "))
		b.WriteByte('\n')
	}
	out := b.String()
	if !strings.Contains(out, "localhost") {
		out = "127.0.0.1 localhost\n::1 localhost\n" + out
	}
	if !named && hostname != "" && !strings.ContainsAny(hostname, " \t\n#") {
		out += "127.0.1.1 " + hostname + "\n"
	}
	return out
}

// inward says that an address leads to the host itself, or to the link, of which there is none inside.
func inward(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() || addr == netip.AddrFrom16([16]byte{0xfe})
}
