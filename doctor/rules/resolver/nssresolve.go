package resolver

import (
	"watertight/doctor"
)

var nssResolve = doctor.Rule{
	ID: "NSS-RESOLVE", Severity: doctor.Critical, Systems: []string{"linux"},
	Title:   "names go to systemd-resolved, which asks servers that are not ours",
	Clients: []string{"every program that resolves by the C library and does not use the proxy", "the same programs inside a network namespace that is not Watertight's"},
	Explain: `With "resolve" in nsswitch.conf the C library hands a name to systemd-resolved over a socket in /run/systemd/resolve, and
with 127.0.0.53 in resolv.conf every other resolver asks it too. Measured (glibc 2.36, systemd 252): inside a network namespace
without any route, "hosts: files resolve [!UNAVAIL=return] dns" had the name looked up by the host's resolved all the same. A
pure Go binary ignored it and read resolv.conf.
What matters is whom resolved asks: "DNS=" of resolved.conf and its drop-ins, and what each link brought, as
/run/systemd/resolve/resolv.conf lists it. With "Domains=~." the servers of the settings are asked for everything, and those of
links no more than for their own domains (systemd-resolved(8), "Protocols and Routing").
Where Watertight answers no DNS, resolved cannot ask it, and the finding is medium. "watertight exec" gives its program an
nsswitch.conf of its own and masks the socket.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		l := h.Lookups()
		foreign := h.Foreign(l.Resolved)
		if len(l.Resolved.Asked) == 0 || h.HandedOver() {
			return nil
		}
		f := doctor.Finding{Evidence: l.Resolved.Asked, Fix: dropIn(h), Severity: doctor.Medium}
		for _, u := range foreign {
			f.Evidence = append(f.Evidence, u.Written)
		}
		f.Fact = "names of programs that do not use the proxy go to systemd-resolved, and from there to servers that are not Watertight"
		if _, have := h.StubFor(); have {
			f.Severity = doctor.Critical
			f.Fact = "names go to systemd-resolved, which does not ask Watertight for all of them"
		}
		switch {
		case len(l.Resolved.Servers) == 0:
			return nil // nothing says whom it asks; what it does then is another rule's
		case len(foreign) == 0:
			return nil
		}
		return []doctor.Finding{f}
	},
}
