package traffic

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"watertight/config"
	"watertight/doctor"
	"watertight/doctor/read"
)

// settled is how long a host has to be up, until counters of a firewall that are all 0 say something.
const settled = 10 * time.Minute

var killSwitch = doctor.Rule{
	ID: "KILL-SWITCH", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "the firewall does not hand over to Watertight what it should, or lets the rest out; or the guard does not hold",
	Clients: []string{"every program that knows of no proxy"},
	Explain: `A listener "listen.transparent" means that the firewall hands over what programs send. Without its rules nothing is held: programs
resolve by the host and connect directly, and nothing fails that would be noticed. Rules go away with a restart of the firewall, with
"nft flush ruleset" at the head of another file, and with the host's restart where nothing loads them.
Looked for in what the kernel has of nf_tables, which it tells root alone: a rule that hands over to the port of each listener, at this
host; one that hands port 53 over to the DNS of Watertight; where TCP alone is handed over (mode: redirect), a rule or a policy that turns
away what is not, on the way of what is handed over; and, where rules have counters and the host is up for ten minutes, that they are not all
0 (they are too where the rules were loaded a moment ago). Tables are judged by what they do, whatever their names: a dormant one does
nothing, one that a program owns (flags owner) is gone with that, and what leads to a container's address, or is Docker's, Podman's, CNI's or
Kubernetes' own, holds nobody. Other rules of iptables-nft and ports out of a map are taken for the right ones. Where the kernel's rules may not be seen, nftables' files are read in their place: that they have no
such rule is medium, for another program may load it. That nothing loads them at the next start is medium too.
Where the configuration has "guard", what "watertight guard on" wrote down is compared with the kernel: a guard that is off is high, one that
somebody changed is critical, a device with a default route that it does not look at is high, and so are tables by its name that are dormant,
owned by another program, or that it does not know of; networks and marks that are not the configuration's are medium.`,
	Find: func(h *doctor.Host) []doctor.Finding { return append(guarded(h), handedOver(h)...) },
}

// handedOver judges the rules that hand over to Watertight what programs send, where it has a listener for that.
func handedOver(h *doctor.Host) []doctor.Finding {
	if !h.HandedOver() {
		return nil
	}
	switch {
	case h.Firewall == nil:
		h.FirewallNotSeen()
		return inFiles(h)
	case legacy(h):
		h.NotSeen("the rules of iptables (not of nf_tables), which may hand over to Watertight")
		return nil
	}
	if found := inKernel(h, *h.Firewall); len(found) > 0 {
		return found
	}
	return atStart(h)
}

// The mends: of rules that are not there, of those that let something out, and of those that are not loaded at the start.
const (
	mendRules = "sudo nft -f /etc/nftables.conf   # with the rules of docs/transparent.md in it; then: sudo systemctl enable nftables"
	mendOrder = "sudo nft list ruleset   # tells which rule comes first; in its place: the rules of docs/transparent.md"
	mendStart = "sudo systemctl enable nftables   # it loads /etc/nftables.conf at each start"
)

// inKernel judges the rules that the kernel has.
func inKernel(h *doctor.Host, all doctor.Firewall) []doctor.Finding {
	f := all.InForce()
	listeners := h.Config.Listen.Transparent
	stands := fmt.Sprintf("kernel: nf_tables has %d rules", len(f.Rules))
	var missing []string
	var ours []netip.AddrPort
	for _, l := range listeners {
		ours = append(ours, l.Address)
		if len(f.Handing(l.Address)) == 0 {
			missing = append(missing, fmt.Sprintf("%s: listen.transparent has %s", h.Config.File, l.Address))
		}
	}
	switch len(missing) {
	case 0:
	case len(listeners):
		missing = append(missing, stands+", none of which hands over to these ports")
		return []doctor.Finding{{Fact: "the firewall hands nothing over to Watertight: what programs send goes past it", Evidence: append(missing, tables(all, elsewhere(f, listeners)...)...), Fix: mendRules}}
	default:
		return []doctor.Finding{{Fact: "the firewall hands nothing over to one of the listeners", Evidence: append(append(missing, stands), tables(all)...), Fix: mendRules}}
	}
	var found []doctor.Finding
	dns := h.DNS()
	if len(dns) > 0 && len(f.Handing(dns...)) == 0 {
		found = append(found, doctor.Finding{
			Severity: doctor.Medium, Fact: "the firewall hands no DNS over to Watertight: names are looked up past it, or not at all",
			Evidence: []string{fmt.Sprintf("%s: listen.dns has %s", h.Config.File, dns[0]), stands + ", none of which redirects to that port"}, Fix: mendRules,
		})
	}
	tcpAlone := !slices.ContainsFunc(listeners, func(l config.TransparentListener) bool { return l.Mode != config.ModeRedirect })
	handing := f.Handing(ours...)
	if sent, through := f.Takes(handing); tcpAlone && !f.TurnsAway(sent, through) {
		found = append(found, doctor.Finding{
			Fact:     "the firewall hands TCP over, and nothing turns datagrams away: QUIC and the like go past Watertight",
			Evidence: append(append(evidenceOf(handing), "kernel: no rule on the way out drops or rejects, and no chain there has policy drop"), tables(all)...), Fix: mendRules,
		})
	}
	handing = f.Handing(append(ours, dns...)...)
	if up, ok := uptime(h); ok && up >= settled && idle(handing) {
		found = append(found, doctor.Finding{
			Severity: doctor.Medium, Fact: fmt.Sprintf("the rules that hand over to Watertight have counted no packet, and this host is up for %s", strings.TrimSuffix(up.Truncate(time.Minute).String(), "0s")), Evidence: evidenceOf(handing), Fix: mendOrder,
		})
	}
	return append(found, kept(all)...)
}

// elsewhere gives the rules that lead to a port of a listener, and not to this host.
func elsewhere(f doctor.Firewall, listeners []config.TransparentListener) (text []string) {
	for _, r := range f.Rules {
		if r.To.IsValid() && slices.ContainsFunc(listeners, func(l config.TransparentListener) bool { return r.Redirect == l.Address.Port() }) {
			text = append(text, "kernel: "+r.String()+", which is not this program")
		}
	}
	return text
}

// tables adds to some evidence what keeps tables with Watertight's names from holding.
func tables(f doctor.Firewall, text ...string) []string {
	for _, t := range f.Tables {
		if t.Dormant && strings.HasPrefix(t.Name, "watertight") {
			text = append(text, fmt.Sprintf("kernel: table %s %s is dormant: none of its chains is in force", t.Family, t.Name))
		}
	}
	return text
}

// kept finds the table of the rules in the hands of a program, with which it goes.
func kept(f doctor.Firewall) (found []doctor.Finding) {
	for _, t := range f.Tables {
		if t.Name == "watertight" && t.Owner != 0 {
			found = append(found, doctor.Finding{
				Severity: doctor.Medium, Fact: "the rules that hand over to Watertight are gone when the program ends that loaded them",
				Evidence: []string{fmt.Sprintf("kernel: table %s %s is owned by port %d of netlink, which is that of a program that runs (flags owner)", t.Family, t.Name, t.Owner)}, Fix: mendRules,
			})
		}
	}
	return found
}

// evidenceOf gives rules as evidence.
func evidenceOf(rules []read.FirewallRule) []string {
	var all []string
	for _, r := range rules {
		all = append(all, "kernel: "+r.String())
	}
	return all
}

// idle says whether rules that hand over count, and none of these has seen a packet.
func idle(handing []read.FirewallRule) bool {
	counted := false
	for _, r := range handing {
		if !r.Counted || r.Packets > 0 {
			return false
		}
		counted = true
	}
	return counted
}

// uptime is how long the host is up: proc_uptime(5).
func uptime(h *doctor.Host) (time.Duration, bool) {
	f, ok := h.Files.Read("/proc/uptime")
	if !ok {
		return 0, false
	}
	text, _, _ := strings.Cut(string(f.Data), " ")
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds < 0 || seconds > 1e9 {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// legacy says whether there are rules of iptables that are not of nf_tables, which the kernel does not tell of with those.
func legacy(h *doctor.Host) bool {
	for _, name := range []string{"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"} {
		if f, ok := h.Files.Read(name); ok && slices.ContainsFunc(f.Lines(), func(l string) bool { return l == "nat" || l == "mangle" }) {
			return true
		}
	}
	return false
}

// written gives the lines of nftables' files that hand over to a port of ours, and the files there are.
func written(h *doctor.Host) (handing, files []string) {
	for _, f := range h.Readable(nil, "/etc/nftables.conf", "/etc/nftables.d/*.nft", "/etc/nftables/*.nft", "/etc/sysconfig/nftables.conf") {
		files = append(files, f.Path)
		for i, line := range f.Lines() {
			if line, _, _ = strings.Cut(line, "#"); !handsOver.MatchString(line) {
				continue
			}
			if slices.ContainsFunc(h.Config.Listen.Transparent, func(l config.TransparentListener) bool {
				return strings.Contains(line+" ", fmt.Sprintf(":%d ", l.Address.Port())) || strings.Contains(line, "$") || strings.Contains(line, " map ")
			}) {
				handing = append(handing, f.At(i+1, line))
			}
		}
	}
	return handing, files
}

var handsOver = regexp.MustCompile(`\b(redirect|tproxy|dnat)\b`)

// inFiles judges nftables' files in the place of the kernel's rules.
func inFiles(h *doctor.Host) []doctor.Finding {
	handing, files := written(h)
	if len(handing) > 0 {
		return atStart(h)
	}
	if len(files) == 0 || legacy(h) {
		return nil // another program may load them from anywhere
	}
	f := doctor.Finding{Severity: doctor.Medium, Fact: "nftables' files hand nothing over to Watertight, and what the kernel has was not seen", Fix: mendRules}
	for _, l := range h.Config.Listen.Transparent {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%s: listen.transparent has %s", h.Config.File, l.Address))
	}
	for _, name := range files {
		f.Evidence = append(f.Evidence, name+": no line in it hands over to that")
	}
	return []doctor.Finding{f}
}

// atStart tells that nftables' files, which hand over, are not loaded when the host starts.
func atStart(h *doctor.Host) []doctor.Finding {
	handing, _ := written(h)
	if len(handing) == 0 || !h.Files.Has("/etc/systemd/system") || len(h.Files.Glob("/etc/systemd/system/*.wants/nftables.service")) > 0 {
		return nil
	}
	if len(h.Files.Glob("/usr/lib/systemd/system/nftables.service"))+len(h.Files.Glob("/lib/systemd/system/nftables.service")) == 0 {
		return nil // some other service may load them
	}
	return []doctor.Finding{{
		Severity: doctor.Medium, Fact: "the rules that hand over to Watertight are not loaded when this host starts: until somebody does, programs go past it",
		Evidence: append(handing, "/etc/systemd/system: nftables.service is not enabled"), Fix: mendStart,
	}}
}
