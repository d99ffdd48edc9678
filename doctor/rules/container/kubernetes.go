package container

import (
	"fmt"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var k8sNdots = doctor.Rule{
	ID: "K8S-NDOTS", Severity: doctor.Medium, Systems: []string{"linux"},
	Title:   "in this pod every name is looked up with the cluster's suffixes first",
	Clients: []string{"every program in a pod that resolves by itself: C library, Go, Java, Node, Python"},
	Explain: `A pod's resolv.conf has "ndots:5" and four suffixes or so. Measured with such a file: one connection of curl or Go to
api.example.com makes ten queries, for five names, A and AAAA. So does the proxy's own address where it is a name of fewer than
five dots; a trailing dot, or ndots:1, makes two. Name the sidecar by 127.0.0.1.
Looked for: the resolv.conf of the pod this runs in, and manifests in the directory where this was called, for pods with a
container of Watertight. Programs that give every name to the proxy look nothing up.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		l := h.Lookups()
		f := doctor.Finding{Fact: fmt.Sprintf("in this pod every name with fewer than %d dots is looked up with the cluster's suffixes first", l.Resolv.Ndots), Fix: ndotsMend}
		for _, s := range l.Resolv.Search {
			if l.Resolv.Ndots > 1 && (strings.HasPrefix(s.Text, "svc.") || strings.Contains(s.Text, ".svc.")) {
				f.Evidence = append(f.Evidence, l.ResolvConf.At(s.Line, "search "+s.Text))
			}
		}
		if len(f.Evidence) > 0 {
			f.Evidence = append(f.Evidence, l.ResolvConf.At(l.Resolv.NdotsAt, fmt.Sprintf("options ndots:%d", l.Resolv.Ndots)))
			found = append(found, f)
		}
		with, _, _ := pods(h)
		for _, o := range with {
			if o.pod.Ndots == 1 || o.pod.DNSPolicy.Text == "None" && o.pod.Ndots == 0 || o.pod.DNSPolicy.Text == "Default" {
				continue
			}
			found = append(found, doctor.Finding{
				Fact:     fmt.Sprintf("%s %s has Watertight beside it, and looks every name up with the cluster's suffixes first", o.pod.Kind, o.pod.Name),
				Evidence: []string{o.file.At(o.pod.Line, "spec: no dnsConfig with ndots 1")}, Fix: ndotsMend,
			})
		}
		return found
	},
}

const ndotsMend = "# in the pod's spec\ndnsConfig: {options: [{name: ndots, value: \"1\"}]}"

var k8sEgress53 = doctor.Rule{
	ID: "K8S-EGRESS53", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "a network policy lets pods ask resolvers past Watertight",
	Clients: []string{"every program in the pod that ignores the proxy"},
	Explain: `A sidecar is as tight as what the pod may send beside it. A NetworkPolicy whose egress allows port 53 or 853, or every port, to
everywhere lets a program that ignores its proxy have its names looked up in clear text. Policies only add up: one that allows is
enough. A pod shares one network with its sidecar, and a NetworkPolicy knows no users, so the sidecar's resolver has to be on another
port (443), or by its address: "to: [{ipBlock: {cidr: 9.9.9.9/32}}]".
Looked for in manifests in the directory where this was called, if a pod with a container of Watertight is among them. Port 53
of the cluster's own DNS, by a selector of pods, is found with severity medium: names leave the cluster from there.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		with, egress, files := pods(h)
		if len(with) == 0 {
			return nil
		}
		var found []doctor.Finding
		for name, rules := range egress {
			for _, r := range rules {
				if f, ok := lets(files[name], r); ok {
					found = append(found, f)
				}
			}
		}
		return found
	},
}

// lets says what is wrong with a rule of a network policy.
func lets(f doctor.File, r read.EgressRule) (doctor.Finding, bool) {
	if !r.Allows(53) && !r.Allows(853) || len(r.To) > 0 && !wide(r.To) && !selects(r.To) {
		return doctor.Finding{}, false
	}
	line, what := r.Line, "every port"
	for _, p := range r.Ports {
		if p.First <= 53 && 53 <= p.Last || p.First <= 853 && 853 <= p.Last {
			line, what = p.Line, fmt.Sprintf("port %d/%s", p.First, p.Protocol)
			if p.Last != p.First {
				what = fmt.Sprintf("ports %d to %d/%s", p.First, p.Last, p.Protocol)
			}
		}
	}
	one := doctor.Finding{
		Fact:     "network policy " + r.Policy + " lets pods send to resolvers anywhere: " + what,
		Evidence: []string{f.At(line, "egress: "+what)},
		Fix:      "# in place of that rule: the servers that Watertight needs, and no resolver\n- to: [{ipBlock: {cidr: ADDRESS/32}}]\n  ports: [{protocol: TCP, port: 443}]",
	}
	if len(r.To) > 0 && !wide(r.To) {
		one.Severity = doctor.Medium
		one.Fact = "network policy " + r.Policy + " lets pods ask the cluster's DNS, from where names leave: " + what
	}
	return one, true
}

// wide says whether a rule leads to everywhere.
func wide(to []read.Peer) bool {
	for _, p := range to {
		if p.CIDR == "0.0.0.0/0" || p.CIDR == "::/0" {
			return true
		}
	}
	return false
}

func selects(to []read.Peer) bool {
	for _, p := range to {
		if p.Pods {
			return true
		}
	}
	return false
}

var k8sStartOrder = doctor.Rule{
	ID: "K8S-STARTORDER", Severity: doctor.Medium, Systems: []string{"linux"},
	Title:   "a pod's programs may start before Watertight does, or outlive it",
	Clients: []string{"every program in the pod: it finds no proxy at its start, and some then connect directly"},
	Explain: `The containers of a pod start together. Until the sidecar answers, a client gets a refused connection: most give up, and those that
fall back (a PAC file with DIRECT, Firefox with failover_direct) go directly. A container in initContainers with
"restartPolicy: Always" is a native sidecar (on by default since Kubernetes 1.29): the others start when its startup probe has
succeeded, and it ends after them, also in a Job.
Looked for in manifests in the directory where this was called.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		with, _, _ := pods(h)
		var found []doctor.Finding
		for _, o := range with {
			for _, c := range o.pod.Containers {
				if !ours(c) || len(o.pod.Containers) == 1 || c.Init && c.Always {
					continue
				}
				found = append(found, doctor.Finding{
					Fact:     fmt.Sprintf("%s %s: its programs may start before Watertight does", o.pod.Kind, o.pod.Name),
					Evidence: []string{o.file.At(c.Line, "container "+c.Name+" is no native sidecar")},
					Fix:      "# move it to initContainers, with\nrestartPolicy: Always\nstartupProbe: {tcpSocket: {port: " + portOf(h.Proxy()) + "}, periodSeconds: 1}",
				})
			}
		}
		return found
	},
}
