// Package container has the rules on containers: the daemons of Docker and Podman, what they give to containers, and
// manifests of Kubernetes.
//
// A container inherits neither the variables nor the resolver of its host; each has settings of its own, and defaults that
// lead to public resolvers. Manifests are looked for where who asks stands, and where a node has those of its own.
package container

import (
	"net/netip"
	"path"
	"slices"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

// Rules gives the rules, in the order of their listing.
func Rules() []doctor.Rule {
	return []doctor.Rule{
		dockerDNSFallback,
		dockerDaemonProxy,
		dockerCLIProxies,
		podmanRootlessDNS,
		k8sNdots,
		k8sEgress53,
		k8sStartOrder,
	}
}

// daemonFiles are where a daemon.json stands: of the package, of rootless Docker, of the snap.
func daemonFiles(h *doctor.Host) []doctor.File {
	return h.Readable([]string{".config/docker/daemon.json"}, "/etc/docker/daemon.json", "/var/snap/docker/current/config/daemon.json")
}

// dockerd gives the evidence that Docker's daemon is on this host.
func dockerd(h *doctor.Host) []string {
	for _, p := range h.Processes {
		if p.Name == "dockerd" {
			return []string{p.String() + ": Docker's daemon"}
		}
	}
	for _, name := range []string{"/usr/bin/dockerd", "/usr/local/bin/dockerd", "/usr/sbin/dockerd"} {
		if h.Files.Has(name) {
			return []string{name + ": Docker's daemon"}
		}
	}
	return nil
}

// bridge is where containers of the default bridge reach their host.
var bridge = netip.AddrFrom4([4]byte{172, 17, 0, 1})

// loopbackOnly says whether every server is on loopback, of which there is at least one: then a daemon that gives the host's servers to
// containers has none to give.
func loopbackOnly(servers []read.Server) bool {
	return len(servers) > 0 && !slices.ContainsFunc(servers, func(s read.Server) bool { return !s.Addr.IsLoopback() })
}

// given gives the servers that a daemon would hand to containers, with their file: those of resolv.conf, or, where that leads to
// systemd-resolved, those of its own list.
func given(h *doctor.Host) ([]read.Server, doctor.File) {
	l := h.Lookups()
	stub := netip.AddrFrom4([4]byte{127, 0, 0, 53})
	if len(l.Resolv.Servers) == 1 && l.Resolv.Servers[0].Addr == stub {
		if f, ok := h.Files.Read("/run/systemd/resolve/resolv.conf"); ok {
			return read.ParseResolv(f.Data).Servers, f
		}
	}
	return l.Resolv.Servers, l.ResolvConf
}

// manifests gives the files of Kubernetes objects: in the directory of who asks, and of a node.
func manifests(h *doctor.Host) []doctor.File {
	var patterns []string
	for _, ext := range []string{"*.yaml", "*.yml", "*.json"} {
		if dir := h.Getenv("PWD"); path.IsAbs(dir) && !strings.ContainsAny(dir, `*?[\`) {
			for _, sub := range []string{"", "k8s", "kubernetes", "manifests", "deploy"} {
				patterns = append(patterns, path.Join(dir, sub, ext))
			}
		}
		patterns = append(patterns, path.Join("/etc/kubernetes/manifests", ext), path.Join("/var/lib/rancher/k3s/server/manifests", ext))
	}
	return h.Readable(nil, patterns...)
}

// ours says whether a container is one of Watertight's.
func ours(c read.Container) bool {
	image, _, _ := strings.Cut(path.Base(c.Image), ":")
	image, _, _ = strings.Cut(image, "@")
	return image == "watertight" || c.Name == "watertight"
}

// object is what a file of manifests has about one pod of ours.
type object struct {
	file doctor.File
	pod  read.Pod
}

// pods gives the pods that have a container of ours, and the rules of network policies beside them. Without such a pod manifests are no
// concern of ours.
func pods(h *doctor.Host) (with []object, egress map[string][]read.EgressRule, files map[string]doctor.File) {
	egress, files = map[string][]read.EgressRule{}, map[string]doctor.File{}
	for _, f := range manifests(h) {
		m, err := read.ParseManifests(f.Data)
		if err != nil {
			continue
		}
		for _, p := range m.Pods {
			if slices.ContainsFunc(p.Containers, ours) {
				with = append(with, object{f, p})
			}
		}
		if len(m.Egress) > 0 {
			egress[f.Path], files[f.Path] = m.Egress, f
		}
	}
	return with, egress, files
}
