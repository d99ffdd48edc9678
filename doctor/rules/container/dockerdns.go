package container

import (
	"net/netip"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var dockerDNSFallback = doctor.Rule{
	ID: "DOCKER-DNS-FALLBACK", Severity: doctor.Critical, Systems: []string{"linux"},
	Title:   "Docker gives public resolvers to containers",
	Clients: []string{"every container on the default bridge"},
	Explain: `A container on the default bridge gets the servers of its host's resolv.conf, without those on loopback, which it could not reach.
If none is left Docker puts 8.8.8.8 and 8.8.4.4 in their place (moby, TransformForLegacyNw in libnetwork/internal/resolvconf;
moby#14627, docker/docs#24769, #25793). So a host that leads its own names to an encrypted resolver on 127.0.0.1 has its containers
ask Google in clear text. Where resolv.conf is that of systemd-resolved's stub, the list in /run/systemd/resolve/resolv.conf is
taken, with the same end.
"dns" in daemon.json is taken in place of all that. It needs an address that a container reaches: 172.17.0.1 is the host, on the
default bridge. "dns" with servers that are not ours is found too, where Watertight answers DNS.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		daemon := dockerd(h)
		if len(daemon) == 0 {
			return nil
		}
		var found []doctor.Finding
		var told []read.Word
		for _, f := range daemonFiles(h) {
			d, err := read.ParseDockerDaemon(f.Data)
			if err != nil {
				found = append(found, doctor.Finding{
					Severity: doctor.High, Fact: "daemon.json cannot be read, so what Docker gives to containers is not known",
					Evidence: []string{f.Path + ": not JSON"}, Fix: "dockerd --validate --config-file " + f.Path,
				})
				continue
			}
			if d.NoBridge {
				return nil
			}
			told = append(told, d.DNS...)
			if e := foreign(h, f, d.DNS); len(e) > 0 && len(h.DNS()) > 0 {
				found = append(found, doctor.Finding{
					Severity: doctor.High, Fact: "daemon.json gives containers servers that are not Watertight",
					Evidence: e, Fix: dockerMend(h),
				})
			}
		}
		servers, file := given(h)
		if len(told) > 0 || flagged(h) || !loopbackOnly(servers) {
			return found
		}
		f := doctor.Finding{
			Fact: "containers on the default bridge ask 8.8.8.8: the host's servers are all on loopback, and daemon.json has no dns",
			Fix:  dockerMend(h), Evidence: daemon,
		}
		for _, s := range servers {
			f.Evidence = append(f.Evidence, file.At(s.Line, "nameserver "+s.Addr.String()))
		}
		if files := daemonFiles(h); len(files) == 1 && h.AnswersDNS(netip.AddrPortFrom(bridge, 53)) {
			f.Change = withMember(files[0], "dns", dnsMember)
		}
		return append(found, f)
	},
}

// dockerMend leads containers to our DNS.
func dockerMend(h *doctor.Host) string {
	fix := "# in /etc/docker/daemon.json\n\"dns\": " + dnsMember + "\n# then: sudo systemctl restart docker"
	if !h.AnswersDNS(netip.AddrPortFrom(bridge, 53)) {
		fix = `# first, in the configuration of Watertight: listen: {dns: ["127.0.0.1:53", {address: "` + bridge.String() + `:53", allow_insecure: true}]}` + "\n" + fix
	}
	return fix
}

// dnsMember is what daemon.json says of our DNS.
var dnsMember = `["` + bridge.String() + `"]`

// foreign gives the servers of a daemon.json that are not ours.
func foreign(h *doctor.Host, f doctor.File, servers []read.Word) []string {
	var all []string
	for _, w := range servers {
		if a, err := netip.ParseAddr(w.Text); err != nil || !h.AnswersDNS(netip.AddrPortFrom(a, 53)) {
			all = append(all, f.At(w.Line, `"dns": `+w.Text))
		}
	}
	return all
}

// flagged says whether the running daemon has --dns.
func flagged(h *doctor.Host) bool {
	for _, p := range h.Processes {
		if p.Name != "dockerd" {
			continue
		}
		for _, a := range p.Args {
			if a == "--dns" || strings.HasPrefix(a, "--dns=") {
				return true
			}
		}
	}
	return false
}
