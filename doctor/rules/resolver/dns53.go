package resolver

import (
	"net/netip"

	"watertight/doctor"
	"watertight/doctor/read"
)

var dns53Other = doctor.Rule{
	ID: "DNS-53-OTHER", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "another program answers where Watertight should answer DNS",
	Clients: everyProgram,
	Explain: `Two programs cannot have port 53 of one address. dnsmasq (of NetworkManager or libvirt), unbound, BIND, AdGuard Home and
systemd-resolved, at 127.0.0.53, are the usual ones. Where one of them holds the address that is ours by the configuration,
Watertight does not start, and programs go on asking the other.
Where one listens on every address and Watertight on 127.0.0.1 alone, both work, and 127.0.0.2 or the address of an interface
is answered by the other.
The sockets of /proc/net are read, as far as this user sees whose they are. Nothing is found where Watertight is configured to
answer no DNS on port 53: what other resolvers do is told by the rules on resolv.conf and systemd-resolved.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var ours []netip.AddrPort
		for _, at := range h.DNS() {
			if at.Port() == 53 {
				ours = append(ours, at)
			}
		}
		if len(ours) == 0 {
			return nil
		}
		f := doctor.Finding{
			Fact: "another program holds the address at which Watertight should answer DNS",
			Fix:  "sudo systemctl disable --now systemd-resolved   # or the service that is named above",
		}
		for _, s := range h.Sockets(func(s read.Socket) bool { return takes(s, ours) }) {
			if s.Known && !h.Own(s.Process) || !s.Known && h.Status == nil {
				f.Evidence = append(f.Evidence, s.String())
			}
			if s.Known && !h.Own(s.Process) {
				f.Fix = mendOf(s.Process.Name)
			}
		}
		return doctor.Only(f)
	},
}

// takes says whether a socket waits where one of ours should.
func takes(s read.Socket, ours []netip.AddrPort) bool {
	waits := s.Proto == "tcp" && s.State == read.Listening || s.Proto == "udp" && s.State == read.Closed
	if !waits || s.Local.Port() != 53 {
		return false
	}
	for _, at := range ours {
		if at == s.Local || at.Addr().IsUnspecified() && at.Addr().Is4() == s.Local.Addr().Is4() {
			return true
		}
	}
	return false
}

// mendOf is how the usual ones let go of the port.
func mendOf(program string) string {
	switch program {
	case "systemd-resolved", "systemd-resolve":
		return `sudo mkdir -p /etc/systemd/resolved.conf.d && printf '[Resolve]\nDNSStubListener=no\n' | sudo tee /etc/systemd/resolved.conf.d/90-no-stub.conf && sudo systemctl restart systemd-resolved`
	case "named":
		return "sudo systemctl disable --now named   # or take 127.0.0.1 out of listen-on in named.conf"
	case "dnsmasq":
		return "sudo systemctl disable --now dnsmasq   # of libvirt: bind-interfaces stays; of NetworkManager: dns=none"
	}
	return "sudo systemctl disable --now " + shellWord(program)
}

// shellWord leaves of a program's name what can be pasted.
func shellWord(s string) string {
	clean := make([]rune, 0, len(s))
	for _, r := range s {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' || r == '@' {
			clean = append(clean, r)
		}
	}
	if len(clean) == 0 || clean[0] == '-' {
		return "SERVICE"
	}
	return string(clean)
}
