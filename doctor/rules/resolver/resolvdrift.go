package resolver

import (
	"net/netip"

	"watertight/doctor"
)

var resolvDrift = doctor.Rule{
	ID: "RESOLV-DRIFT", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "resolv.conf leads to Watertight, and another program will write it anew",
	Clients: everyProgram,
	Explain: `resolv.conf belongs to whoever wrote it last. Measured: installing packages alone changed a Debian 12 host from a file of its
own to a link to /run/systemd/resolve/stub-resolv.conf, and "hosts: files dns" to one with mdns4_minimal and resolve in it.
NetworkManager, dhcpcd, dhclient and resolvconf write the file at every lease, and with it the server of that network.
What the file says today is then no promise for tomorrow. The rule looks only where the file leads to Watertight now: by the
link that it is, and by what its first lines say of their writer. NetworkManager has a rule of its own.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		l := h.Lookups()
		ours := false
		for _, s := range l.Resolv.Servers {
			ours = ours || h.AnswersDNS(netip.AddrPortFrom(s.Addr, 53))
		}
		writer, mend := writerOf(h, l)
		if !ours || writer == "" || writer == "NetworkManager" {
			return nil
		}
		f := doctor.Finding{
			Fact: "resolv.conf leads to Watertight, and " + writer + " will write it anew",
			Fix:  pasteResolv(h, l),
		}
		if mend == "" {
			f.Fix = "sudo rm /etc/resolv.conf\n" + `printf 'nameserver 127.0.0.1\noptions edns0\n' | sudo tee /etc/resolv.conf`
		}
		if target, ok := h.Files.Link("/etc/resolv.conf"); ok {
			f.Evidence = append(f.Evidence, "/etc/resolv.conf: a link to "+target)
		}
		for i, line := range l.ResolvConf.Lines() {
			if len(line) > 0 && line[0] == '#' && len(f.Evidence) < 3 {
				f.Evidence = append(f.Evidence, l.ResolvConf.At(i+1, line))
			}
		}
		return doctor.Only(f)
	},
}
