package doctor

import (
	"slices"

	"watertight/doctor/read"
)

// Firewall is what the kernel has of nf_tables. Rules with a port that is not read count as whatever is asked for.
type Firewall struct {
	Rules  []read.FirewallRule
	Chains []read.FirewallChain
}

// HandsOver says whether a rule hands packets over to a port.
func (f Firewall) HandsOver(port uint16) bool {
	return slices.ContainsFunc(f.Rules, func(r read.FirewallRule) bool { return r.Redirect == port || r.TPROXY == port || r.Unread })
}

// TurnsAway says whether anything on the way out drops or rejects: a rule of a chain that stands there or that others jump to, or what a chain
// does in the end.
func (f Firewall) TurnsAway() bool {
	out := func(c read.FirewallChain) bool {
		return c.Hook == "output" || c.Hook == "forward" || c.Hook == "postrouting"
	}
	if slices.ContainsFunc(f.Chains, func(c read.FirewallChain) bool { return c.Drops && out(c) }) {
		return true
	}
	return slices.ContainsFunc(f.Rules, func(r read.FirewallRule) bool {
		return r.TurnsAway && slices.ContainsFunc(f.Chains, func(c read.FirewallChain) bool {
			return c.Family == r.Family && c.Table == r.Table && c.Name == r.Chain && (c.Hook == "" || out(c))
		})
	})
}

// FirewallNotSeen remembers why the kernel's firewall was not seen, if that was to be expected.
func (h *Host) FirewallNotSeen() {
	if h.firewallUnseen != "" {
		h.NotSeen("the rules of the firewall that the kernel has: " + h.firewallUnseen)
	}
}

// NotSeen remembers what a rule could not look at, and why, for the report.
func (h *Host) NotSeen(text string) { h.Files.blindTo(Plain(text)) }
