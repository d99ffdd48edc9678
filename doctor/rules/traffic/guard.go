package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"watertight/doctor"
	"watertight/guard"
)

// mendGuard loads what the configuration says.
const mendGuard = "sudo watertight guard on"

// guarded judges the guard of the host, where the configuration has one.
func guarded(h *doctor.Host) []doctor.Finding {
	if h.Config.Guard == nil {
		return nil
	}
	if h.Guard == nil {
		h.GuardNotSeen()
		return nil
	}
	g, written := *h.Guard, h.Config.File+": guard is written"
	finding := func(severity doctor.Severity, fact string, evidence ...string) []doctor.Finding {
		return []doctor.Finding{{Severity: severity, Fact: fact, Evidence: append(evidence, ofGuard(h)...), Fix: mendGuard}}
	}
	switch {
	case !g.Armed && g.Why != "":
		return finding(doctor.High, "there are tables of the guard that it did not make, as far as it knows: what they refuse is not known", "kernel: "+g.Why)
	case !g.Armed:
		return finding(doctor.High, "the guard that the configuration asks for is off: what programs send goes past Watertight", written, guard.DefaultFile+" is not there, which says what should hold")
	case !g.Held:
		return finding(doctor.Critical, "the guard of this host is on, and somebody has changed it: programs may send past Watertight", "kernel: "+g.Why, on(g))
	}
	var found []doctor.Finding
	for _, way := range waysOut(h) {
		if !slices.Contains(g.Uplinks, way) {
			found = append(found, finding(doctor.High, "packets that go past the firewall of IP leave by a device at which the guard does not look", "/proc/net: a default route leads to "+way, on(g))...)
		}
	}
	for _, p := range g.Allow {
		if !slices.ContainsFunc(h.Config.Guard.Allow, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }) {
			found = append(found, finding(doctor.Medium, "the guard lets programs reach a network that the configuration does not allow", fmt.Sprintf("kernel: %s is allowed", p), on(g))...)
		}
	}
	if mark := h.Config.Mark(); g.Mark != mark {
		found = append(found, finding(doctor.Medium, "the guard refuses what Watertight sends: it knows another mark", fmt.Sprintf("kernel: what has the mark %d may leave", g.Mark), fmt.Sprintf("%s: what Watertight sends has the mark %d", h.Config.File, mark))...)
	}
	if own := ofGuard(h); len(found) == 0 && len(own) > 0 {
		found = finding(doctor.High, "the tables of the guard are not in force, or go with a program that has taken them for itself", on(g))
	}
	return found
}

// on says since when a guard is on, as evidence.
func on(g guard.State) string {
	text := fmt.Sprintf("%s: it was turned on at %s", guard.DefaultFile, g.Since.UTC().Format("2006-01-02 15:04:05Z"))
	if len(g.Uplinks) > 0 {
		text += "; the kernel has it look at " + strings.Join(g.Uplinks, ", ")
	}
	return text
}

// ofGuard tells of the guard's tables what the guard never makes.
func ofGuard(h *doctor.Host) (text []string) {
	if h.Firewall == nil {
		return nil
	}
	for _, t := range h.Firewall.Tables {
		switch {
		case t.Name != "watertight_guard":
		case t.Dormant:
			text = append(text, fmt.Sprintf("kernel: table %s %s is dormant: none of its chains is in force", t.Family, t.Name))
		case t.Owner != 0:
			text = append(text, fmt.Sprintf("kernel: table %s %s is owned by port %d of netlink, and the guard's never is (flags owner)", t.Family, t.Name, t.Owner))
		}
	}
	return text
}

// waysOut gives the devices to which default routes lead (proc_net(5)).
func waysOut(h *doctor.Host) (devices []string) {
	add := func(device string) {
		if device != "lo" && device != "*" && !slices.Contains(devices, device) { // *: a route that refuses (ip-route(8), unreachable)
			devices = append(devices, device)
		}
	}
	if f, ok := h.Files.Read("/proc/net/route"); ok {
		for _, line := range f.Lines() {
			if part := strings.Fields(line); len(part) > 7 && part[1] == "00000000" && part[7] == "00000000" {
				add(part[0])
			}
		}
	}
	if f, ok := h.Files.Read("/proc/net/ipv6_route"); ok {
		for _, line := range f.Lines() {
			if part := strings.Fields(line); len(part) == 10 && strings.Trim(part[0], "0") == "" && part[1] == "00" {
				add(part[9])
			}
		}
	}
	return devices
}
