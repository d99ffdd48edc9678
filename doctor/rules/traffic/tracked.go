package traffic

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"watertight/config"
	"watertight/doctor"
	"watertight/doctor/read"
	"watertight/upstream"
)

// talk is what one host asked of one resolver.
type talk struct {
	from    netip.Addr
	to      netip.AddrPort
	proto   string
	flows   int
	packets uint64
	counted bool
}

// String is how evidence shows it.
func (t talk) String() string {
	text := fmt.Sprintf("/proc/net/nf_conntrack: %s to %s (%s), ", t.from, t.to, t.proto)
	if t.counted {
		text += plural(t.packets, "packet") + " in "
	}
	return text + plural(uint64(t.flows), "flow")
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// tracked finds questions to resolvers by the connections that the kernel tracks.
func tracked(h *doctor.Host) []doctor.Finding {
	if h.HandedOver() && slices.ContainsFunc(h.Config.Listen.Transparent, func(l config.TransparentListener) bool { return l.Mode != config.ModeRedirect }) {
		return nil // TPROXY does not show there
	}
	_, known := upstream.KnownResolvers()
	runs := h.Status != nil || slices.ContainsFunc(h.Processes, h.Own) // then some of these are its own
	flows, own := h.Tracked(func(f read.TrackedFlow) bool { return past(h, f, known, runs) })
	var ours, others []talk
	for _, f := range flows {
		switch {
		case slices.Contains(own, f.To.Addr()): // this host is the resolver
		case slices.Contains(own, f.Answers.Addr()) && answersAtPort(h, f.Answers.Port()): // redirected: on the way in, to the address of an interface
		case slices.Contains(own, f.From.Addr()):
			ours = add(ours, f)
		case !h.HandedOver(): // else whom the firewall is for, is not known here
			others = add(others, f)
		}
	}
	return slices.Concat(doctor.Only(doctor.Finding{
		Fact:     "programs of this host asked resolvers past Watertight within the last minutes",
		Evidence: told(ours), Fix: "sudo watertight doctor --watch --only DNS-DIRECT-LIVE   # names who has its socket open\nwatertight exec -- PROGRAM   # its own resolver is refused there",
	}), doctor.Only(doctor.Finding{
		Severity: doctor.High, Fact: "containers, or hosts for which this one is the router, asked resolvers past Watertight within the last minutes",
		Clients: []string{"the hosts that are named, and what runs there"}, Evidence: told(others),
		Fix: "watertight doctor --only DOCKER-DNS-FALLBACK,PODMAN-ROOTLESS-DNS   # of containers\n# of other hosts: the rules for a router in docs/transparent.md",
	}))
}

// past says whether a flow leads to a resolver, and was not handed over to Watertight on its way.
func past(h *doctor.Host, f read.TrackedFlow, known []netip.Addr, runs bool) bool {
	if f.To.Addr().IsLoopback() || h.IsOurs(f.To) || f.Answers.Addr().IsLoopback() || h.IsOurs(f.Answers) {
		return false
	}
	switch f.To.Port() {
	case 53:
		return true
	case 853:
		return !runs
	case 443:
		return !runs && slices.Contains(known, f.To.Addr())
	}
	return false
}

// answersAtPort says whether our program answers DNS at a port.
func answersAtPort(h *doctor.Host, port uint16) bool {
	return slices.ContainsFunc(h.DNS(), func(l netip.AddrPort) bool { return l.Port() == port })
}

func add(all []talk, f read.TrackedFlow) []talk {
	i := slices.IndexFunc(all, func(t talk) bool { return t.from == f.From.Addr() && t.to == f.To && t.proto == f.Proto })
	if i < 0 {
		i, all = len(all), append(all, talk{from: f.From.Addr(), to: f.To, proto: f.Proto, counted: true})
	}
	t := &all[i]
	t.flows++
	t.packets += f.Packets
	t.counted = t.counted && f.Counted
	return all
}

// told is the evidence, what was most first.
func told(all []talk) []string {
	slices.SortStableFunc(all, func(a, b talk) int { return cmp.Or(cmp.Compare(b.packets, a.packets), b.flows-a.flows) })
	var evidence []string
	for _, t := range all {
		evidence = append(evidence, t.String())
	}
	return evidence
}
