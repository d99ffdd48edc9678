package container

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"watertight/config"
	"watertight/doctor"
	"watertight/doctor/read"
)

var dockerDaemonProxy = doctor.Rule{
	ID: "DOCKER-DAEMON-PROXY", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "Docker's daemon pulls images past Watertight",
	Clients: []string{"docker pull, docker build, docker compose: the daemon connects, not the command line"},
	Explain: `Measured with Docker 20.10: a proxy in the environment of the command line changes nothing, for the daemon pulls. With the proxy in
the daemon's own environment the pull is proxied, but the name of the registry is still looked up four times by the host's
resolver, A and AAAA, to decide whether it is on a private network (isSecureIndex, isCIDRMatch, net.LookupIP; in moby at b985e23).
Docker Hub is exempt. So both are needed: "proxies" in daemon.json (Docker 23 and later) or the variables in its unit, and a
host whose resolver is ours. The second is told by RESOLV-PUBLIC.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		daemon := dockerd(h)
		if len(daemon) == 0 || h.HandedOver() {
			return nil
		}
		set := map[string][]string{} // by the URL's text, the evidence
		for _, f := range daemonFiles(h) {
			if d, err := read.ParseDockerDaemon(f.Data); err == nil && d.HTTPSProxy.Text != "" {
				set[d.HTTPSProxy.Text] = append(set[d.HTTPSProxy.Text], f.At(d.HTTPSProxy.Line, `"https-proxy": "`+d.HTTPSProxy.Text+`"`))
			}
		}
		for _, s := range h.Scopes() {
			isDaemon := s.Kind == doctor.Unit && (s.What == "docker.service" || s.What == "system.conf" || strings.HasPrefix(s.What, "dockerd"))
			isDaemon = isDaemon || s.Kind == doctor.Running && slices.ContainsFunc(s.Processes, func(p doctor.Process) bool { return p.Name == "dockerd" })
			if !isDaemon {
				continue
			}
			for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
				if v, ok := s.Get(name); ok {
					set[v.Value] = append(set[v.Value], v.String())
				}
			}
		}
		for text, evidence := range set {
			if u, _ := doctor.ReadProxyURL(text); !u.Is(h.Ours()) {
				return []doctor.Finding{{
					Severity: doctor.Medium, Fact: "Docker's daemon has a proxy that is not Watertight",
					Evidence: append(evidence, daemon...), Fix: daemonMend(h),
				}}
			}
		}
		if len(set) > 0 {
			return nil
		}
		f := doctor.Finding{
			Fact:     "Docker's daemon has no proxy: it pulls images directly, with look-ups in clear text",
			Evidence: daemon, Fix: daemonMend(h),
		}
		if files := daemonFiles(h); len(files) == 1 {
			f.Change = withMember(files[0], "proxies", daemonMember(h))
		}
		return []doctor.Finding{f}
	},
}

// daemonMend gives the daemon its proxy.
func daemonMend(h *doctor.Host) string {
	return "# in /etc/docker/daemon.json\n\"proxies\": " + daemonMember(h) + "\n# then: sudo systemctl restart docker"
}

func daemonMember(h *doctor.Host) string {
	return `{"http-proxy": "` + h.ProxyURL() + `", "https-proxy": "` + h.ProxyURL() + `", "no-proxy": "localhost,127.0.0.1,::1"}`
}

var dockerCLIProxies = doctor.Rule{
	ID: "DOCKER-CLI-PROXIES", Severity: doctor.Medium, Systems: []string{"linux"},
	Title:   "containers are not told of Watertight",
	Clients: []string{"what runs in containers, and RUN in docker build"},
	Explain: `Measured with Docker 20.10: a container inherits neither the variables of the shell nor those of the daemon. What "proxies" in
~/.docker/config.json says is put into the environment of every container that the command line makes, and of every build; so is
"-e https_proxy=…". The address has to be one that a container reaches: its 127.0.0.1 is its own. That of the host on the default
bridge is 172.17.0.1, where Watertight needs a listener for it.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		daemon := dockerd(h)
		if len(daemon) == 0 || h.HandedOver() {
			return nil
		}
		var found []doctor.Finding
		var told bool
		files := h.Readable([]string{".docker/config.json"})
		for _, f := range files {
			all, err := read.ParseDockerConfig(f.Data)
			if err != nil {
				continue // docker itself does not start with it
			}
			for _, p := range all {
				told = true
				if e, fact := wrong(h, f, p); e != "" {
					found = append(found, doctor.Finding{Fact: fact, Evidence: []string{e}, Fix: cliMend(h)})
				}
			}
		}
		if !told {
			f := doctor.Finding{
				Fact:     "containers are not told of the proxy: no ~/.docker/config.json has proxies",
				Evidence: daemon, Fix: cliMend(h),
			}
			if len(files) == 1 && h.IsOurs(netip.AddrPortFrom(bridge, h.Proxy().Port())) {
				f.Change = withMember(files[0], "proxies", cliMember(h))
			}
			found = append(found, f)
		}
		return found
	},
}

// wrong says what is wrong with an entry.
func wrong(h *doctor.Host, f doctor.File, p read.DockerProxies) (evidence, fact string) {
	for _, w := range []read.Word{p.HTTPS, p.HTTP, p.All} {
		if w.Text == "" {
			continue
		}
		u, _ := doctor.ReadProxyURL(w.Text)
		a, err := netip.ParseAddr(u.Host)
		switch {
		case err == nil && a.IsLoopback() || u.Host == "localhost":
			return f.At(w.Line, w.Text), "containers are told of a proxy on 127.0.0.1, which is their own: they cannot reach it, and some programs then connect directly"
		case !u.Is(h.Ours()) && !onBridge(h, u):
			return f.At(w.Line, w.Text), "containers are told of a proxy that is not Watertight"
		}
	}
	if p.HTTPS.Text == "" && p.All.Text == "" {
		return f.At(p.Line, "proxies."+p.Daemon), "containers are told of no proxy for https"
	}
	return "", ""
}

// onBridge says whether a URL leads to a host's own address, where a listener of ours takes all of them.
func onBridge(h *doctor.Host, u doctor.ProxyURL) bool {
	a, err := netip.ParseAddr(u.Host)
	if u.Host != "host.docker.internal" && (err != nil || !a.IsPrivate()) {
		return false
	}
	return slices.ContainsFunc(h.Config.Listen.Proxy, func(l config.ProxyListener) bool {
		return l.Address.Addr().IsUnspecified() && u.Port == portOf(l.Address)
	})
}

// cliMend tells containers of the proxy.
func cliMend(h *doctor.Host) string {
	fix := "# in ~/.docker/config.json\n\"proxies\": " + cliMember(h)
	if at := netip.AddrPortFrom(bridge, h.Proxy().Port()); !h.IsOurs(at) {
		fix = `# first, in the configuration of Watertight: listen: {proxy: ["` + h.Proxy().String() + `", {address: "` + at.String() + `", allow_insecure: true}]}` + "\n" + fix
	}
	return fix
}

func cliMember(h *doctor.Host) string {
	at := netip.AddrPortFrom(bridge, h.Proxy().Port()).String()
	return `{"default": {"httpProxy": "http://` + at + `", "httpsProxy": "http://` + at + `", "noProxy": "localhost,127.0.0.1,::1"}}`
}

func portOf(at netip.AddrPort) string { return strconv.Itoa(int(at.Port())) }
