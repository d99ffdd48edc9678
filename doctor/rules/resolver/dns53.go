package resolver

import (
	"fmt"
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
			Fix:  "sudo ss -lunpt 'sport = :53'   # tells whose it is; then: sudo systemctl disable --now SERVICE",
		}
		for _, s := range h.Sockets(func(s read.Socket) bool { return takes(s, ours) }) {
			if s.Known && !h.Own(s.Process) || !s.Known && h.Status == nil {
				f.Evidence = append(f.Evidence, s.String())
			}
			if s.Known && !h.Own(s.Process) {
				f.Fix = mendOf(h, s.Process)
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

// mendOf is how a program lets go of the port: the usual ones by their settings, others with their service.
func mendOf(h *doctor.Host, p doctor.Process) string {
	switch p.Name {
	case "systemd-resolved", "systemd-resolve":
		return "sudo mkdir -p /etc/systemd/resolved.conf.d\n" +
			`printf '[Resolve]\nDNSStubListener=no\n' | sudo tee /etc/systemd/resolved.conf.d/90-no-stub.conf` + "\nsudo systemctl restart systemd-resolved"
	case "named":
		return "sudo systemctl disable --now named   # or take 127.0.0.1 out of listen-on in named.conf"
	}
	if service := h.Service(p); service != "" {
		return "sudo systemctl disable --now " + service
	}
	return fmt.Sprintf("systemctl status %[1]d   # tells its service; without one: sudo kill %[1]d", p.PID)
}
