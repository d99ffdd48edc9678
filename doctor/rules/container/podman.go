package container

import (
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var podmanRootlessDNS = doctor.Rule{
	ID: "PODMAN-ROOTLESS-DNS", Severity: doctor.Critical, Systems: []string{"linux"},
	Title:   "rootless Podman gives public resolvers to containers",
	Clients: []string{"every container of rootless Podman with a network of its own"},
	Explain: `Podman gives containers the servers of its host without those on loopback. If none is left it puts 8.8.8.8 and 8.8.4.4, with
their IPv6 addresses, in their place (containers/common, libnetwork/resolvconf; containers/common#2492), as Docker does.
The namespace in which rootless networks live has a resolv.conf of its own, below /run/user/UID/containers, that shows what was
done. Where there is none yet, the rule says what will be: the host's servers are all on loopback and containers.conf has no
"dns_servers".
pasta and slirp4netns answer DNS in the container at 169.254.1.1 and 10.0.2.3, by asking the host's own servers from the host: those on
loopback too.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		seen := false
		for _, f := range h.Readable(nil, "/run/user/*/containers/networks/rootless-netns/resolv.conf", "/run/user/*/containers/rootless-netns/resolv.conf",
			"/run/user/*/containers/networks/rootless-netns/run/resolv.conf") {
			seen = true
			one := doctor.Finding{Fact: "containers of rootless Podman ask 8.8.8.8, which stands in for servers on loopback", Fix: podmanMend}
			for _, s := range read.ParseResolv(f.Data).Servers {
				if text := s.Addr.String(); strings.HasPrefix(text, "8.8.") || strings.HasPrefix(text, "2001:4860:4860::88") {
					one.Evidence = append(one.Evidence, f.At(s.Line, "nameserver "+text))
				}
			}
			found = append(found, doctor.Only(one)...)
		}
		if seen || !h.Files.Has("/usr/bin/podman") && !h.Files.Has("/usr/local/bin/podman") {
			return found
		}
		for _, f := range h.Readable([]string{".config/containers/containers.conf", ".config/containers/containers.conf.d/*.conf"},
			"/usr/share/containers/containers.conf", "/etc/containers/containers.conf", "/etc/containers/containers.conf.d/*.conf") {
			if len(read.ParseContainers(f.Data).DNSServers) > 0 {
				return found
			}
		}
		servers, file := given(h)
		if !loopbackOnly(servers) {
			return found
		}
		one := doctor.Finding{
			Severity: doctor.High, Fact: "containers of rootless Podman will ask 8.8.8.8: the host's servers are all on loopback, and containers.conf has no dns_servers",
			Evidence: []string{"/usr/bin/podman: Podman is installed"}, Fix: podmanMend,
		}
		for _, s := range servers {
			one.Evidence = append(one.Evidence, file.At(s.Line, "nameserver "+s.Addr.String()))
		}
		return append(found, one)
	},
}

var podmanMend = "mkdir -p ~/.config/containers/containers.conf.d\n" +
	`printf '[containers]\ndns_servers = ["169.254.1.1"]\n' > ~/.config/containers/containers.conf.d/90-watertight.conf   # the host's own servers, by pasta; with slirp4netns 10.0.2.3` +
	"\n# and in the configuration of Watertight: listen: {dns: 127.0.0.1:53}"
