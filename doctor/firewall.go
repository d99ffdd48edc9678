package doctor

import (
	"net/netip"
	"slices"
	"strings"

	"watertight/doctor/read"
)

// Firewall is what the kernel has of nf_tables. Rules with a port that is not read count as whatever is asked for.
type Firewall struct {
	Rules  []read.FirewallRule
	Chains []read.FirewallChain
	Tables []read.FirewallTable
}

// InForce is the firewall without the tables that are dormant, which hold nothing.
func (f Firewall) InForce() Firewall {
	dormant := func(family, table string) bool {
		t, ok := f.Table(family, table)
		return ok && t.Dormant
	}
	f.Rules = slices.DeleteFunc(slices.Clone(f.Rules), func(r read.FirewallRule) bool { return dormant(r.Family, r.Table) })
	f.Chains = slices.DeleteFunc(slices.Clone(f.Chains), func(c read.FirewallChain) bool { return dormant(c.Family, c.Table) })
	return f
}

// Table gives a table.
func (f Firewall) Table(family, name string) (read.FirewallTable, bool) {
	i := slices.IndexFunc(f.Tables, func(t read.FirewallTable) bool { return t.Family == family && t.Name == name })
	if i < 0 {
		return read.FirewallTable{}, false
	}
	return f.Tables[i], true
}

// Handing gives the rules that hand packets over to one of some addresses of this host. What leads to a container does not, whatever its
// port; nor does what the programs that run containers have of their own, but where it leads here.
func (f Firewall) Handing(to ...netip.AddrPort) (all []read.FirewallRule) {
	for _, r := range f.Rules {
		if slices.ContainsFunc(to, func(at netip.AddrPort) bool { return hands(r, at) }) {
			all = append(all, r)
		}
	}
	return all
}

// hands says whether a rule hands packets over to an address of this host.
func hands(r read.FirewallRule, to netip.AddrPort) bool {
	switch {
	case r.TPROXY == to.Port():
		return true
	case r.Redirect != to.Port() && !r.Unread:
		return false
	case r.To.IsValid() && !r.To.IsUnspecified():
		return r.To.IsLoopback() || r.To.Unmap() == to.Addr().Unmap() || to.Addr().IsUnspecified() && !ofContainers(r)
	}
	return !r.Unread || !ofContainers(r)
}

// What Docker, Podman, CNI and Kubernetes name their tables and chains.
var (
	containerTables = []string{"netavark", "kube-proxy", "docker-bridges", "cni_hostport"}
	containerChains = []string{"DOCKER", "KUBE-", "CNI-", "NETAVARK", "nv_"}
)

// ofContainers says whether a rule is one of a program that runs containers.
func ofContainers(r read.FirewallRule) bool {
	return slices.Contains(containerTables, r.Table) || slices.ContainsFunc(containerChains, func(c string) bool { return strings.HasPrefix(r.Chain, c) })
}

// TurnsAway says whether anything on a way out drops or rejects: a rule of a chain that stands there or that others jump to, or what a chain
// does in the end. What is sent by this host passes output, and what comes through it passes forward.
func (f Firewall) TurnsAway(sent, through bool) bool {
	out := func(c read.FirewallChain) bool {
		return c.Hook == "postrouting" || c.Hook == "output" && sent || c.Hook == "forward" && through
	}
	if slices.ContainsFunc(f.Chains, func(c read.FirewallChain) bool { return c.Drops && out(c) }) {
		return true
	}
	return slices.ContainsFunc(f.Rules, func(r read.FirewallRule) bool {
		return r.TurnsAway && !ofContainers(r) && slices.ContainsFunc(f.Chains, func(c read.FirewallChain) bool {
			return c.Family == r.Family && c.Table == r.Table && c.Name == r.Chain && (c.Hook == "" || out(c))
		})
	})
}

// Takes says whether some of the rules stand where packets of this host pass, and where those pass that come in. A chain that others jump to
// may be reached from both.
func (f Firewall) Takes(rules []read.FirewallRule) (sent, through bool) {
	for _, r := range rules {
		for _, c := range f.Chains {
			if c.Family == r.Family && c.Table == r.Table && c.Name == r.Chain {
				sent = sent || c.Hook == "output" || c.Hook == ""
				through = through || c.Hook == "prerouting" || c.Hook == ""
			}
		}
	}
	if !sent && !through { // nothing is known of where they stand
		return true, true
	}
	return sent, through
}

// FirewallNotSeen remembers why the kernel's firewall was not seen, if that was to be expected.
func (h *Host) FirewallNotSeen() {
	if h.firewallUnseen != "" {
		h.NotSeen("the rules of the firewall that the kernel has: " + h.firewallUnseen)
	}
}

// GuardNotSeen remembers why the guard of the host was not looked at, if that was to be expected.
func (h *Host) GuardNotSeen() {
	if h.guardUnseen != "" {
		h.NotSeen("whether the guard of this host holds: " + h.guardUnseen)
	}
}

// NotSeen remembers what a rule could not look at, and why, for the report.
func (h *Host) NotSeen(text string) { h.Files.blindTo(Plain(text)) }
