package resolver

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"watertight/control"
	"watertight/doctor"
	"watertight/netwatch"
)

var resolvDrift = doctor.Rule{
	ID: "RESOLV-DRIFT", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "resolv.conf was written anew past Watertight, or will be",
	Clients: everyProgram,
	Explain: `resolv.conf belongs to whoever wrote it last. Measured: installing packages alone changed a Debian 12 host from a file of its
own to a link to /run/systemd/resolve/stub-resolv.conf, and "hosts: files dns" to one with mdns4_minimal and resolve in it.
NetworkManager, dhcpcd, dhclient and resolvconf write the file at every lease, and with it the server of that network.
What the file says today is then no promise for tomorrow. Where the file leads to Watertight now, the rule looks at the link that it
is, and at what its first lines say of their writer. NetworkManager has a rule of its own. Where it leads past a Watertight that runs
and answers DNS on port 53, or nsswitch.conf leads to systemd-resolved, the rule looks whether it was written since that was started, and
whether its content is another than what the proxy saw before: at its starts, and whenever the file changed while it ran. The proxy keeps digests of
the last eight contents of each file in the directory of "state", and nothing else of them.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		l := h.Lookups()
		ours := false
		for _, s := range l.Resolv.Servers {
			ours = ours || h.AnswersDNS(netip.AddrPortFrom(s.Addr, 53))
		}
		writer, mend := writerOf(h, l)
		if e := since(h, l, ours); len(e) > 0 {
			return []doctor.Finding{{
				Fact: "the files by which programs find their resolvers were written anew since Watertight was started, and lead past it", Evidence: e, Fix: pasteResolv(h, l),
			}}
		}
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

// since gives the files that lead past the Watertight that runs, and were written after it was started or have another content than it saw.
func since(h *doctor.Host, l doctor.Lookups, ours bool) []string {
	if h.Status == nil || h.Status.Started.IsZero() || !h.AnswersAt53() || h.HandedOver() {
		return nil
	}
	var evidence []string
	for _, f := range []struct {
		doctor.File
		past bool
	}{{l.ResolvConf, !ours}, {l.NSSwitch, l.Sources.Asks("resolve") && len(h.Foreign(l.Resolved)) > 0}} {
		if !f.past || f.Path == "" {
			continue
		}
		if f.Info.ModTime().After(h.Status.Started) {
			evidence = append(evidence, fmt.Sprintf("%s: written at %s, and Watertight was started at %s", f.Path, f.Info.ModTime().UTC().Format(time.RFC3339), h.Status.Started.UTC().Format(time.RFC3339)))
		}
		if before, ok := lastOther(h.Status.ResolverFiles, f.File); ok {
			evidence = append(evidence, fmt.Sprintf("%s: another content than what Watertight first saw at %s (SHA-256 %.12s…)", f.Path, before.At.UTC().Format(time.RFC3339), before.SHA256))
		}
	}
	return evidence
}

// lastOther gives the last content of a file that is not the one of now.
func lastOther(seen []control.ResolverFile, f doctor.File) (control.ResolverFile, bool) {
	now := netwatch.Sum(f.Data)
	for _, s := range slices.Backward(seen) {
		if s.Path == f.Path && s.SHA256 != now {
			return s, true
		}
	}
	return control.ResolverFile{}, false
}
