package read

import (
	"strconv"
	"strings"
)

// Pod is the part of a manifest that says how a pod's names are looked up: of a Pod, or of the template in a Deployment, Job and the like.
type Pod struct {
	Kind, Name string
	Line       int
	DNSPolicy  Word
	Ndots      int // 0 where dnsConfig does not say
	Containers []Container
}

// Container is a container of a pod.
type Container struct {
	Name, Image string
	Line        int
	Init        bool // in initContainers
	Always      bool // restartPolicy: Always, which makes an init container a sidecar that starts before the others (Kubernetes 1.29)
}

// EgressRule is a rule of a NetworkPolicy that lets a pod send.
type EgressRule struct {
	Policy string
	Ports  []Port // none: every port
	To     []Peer // none: everywhere
	Line   int
}

// Port is a port, or a range of them, that a rule allows.
type Port struct {
	First, Last int
	Protocol    string // "TCP" where it is not said
	Line        int
}

// Peer is where a rule allows to send.
type Peer struct {
	CIDR string // empty for selectors
	Pods bool   // a podSelector, with or without a namespaceSelector
}

// Allows tells whether a rule lets a port pass.
func (r EgressRule) Allows(port int) bool {
	if len(r.Ports) == 0 {
		return true
	}
	for _, p := range r.Ports {
		if p.First <= port && port <= p.Last {
			return true
		}
	}
	return false
}

// Manifests are what was found in a file.
type Manifests struct {
	Pods   []Pod
	Egress []EgressRule
}

// maxObjects bounds the pods and rules of one file.
const maxObjects = 2000

// ParseManifests reads a file of Kubernetes objects, YAML or JSON, lists of them included. What is none of pods or network policies is left out.
func ParseManifests(b []byte) (Manifests, error) {
	docs, err := ParseYAML(b)
	if err != nil {
		return Manifests{}, err
	}
	var m Manifests
	for _, doc := range docs {
		m.take(doc, 0)
	}
	return m, nil
}

func (m *Manifests) take(n Node, depth int) {
	kind := n.Get("kind").Text()
	if !n.Get("apiVersion").There() || len(m.Pods)+len(m.Egress) >= maxObjects {
		return
	}
	switch kind {
	case "List":
		if depth == 0 {
			for _, one := range n.Get("items").Items {
				m.take(one, 1)
			}
		}
	case "Pod":
		m.pod(n, n.Get("spec"))
	case "CronJob":
		m.pod(n, n.Get("spec", "jobTemplate", "spec", "template", "spec"))
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job":
		m.pod(n, n.Get("spec", "template", "spec"))
	case "NetworkPolicy":
		m.policy(n)
	}
}

func (m *Manifests) pod(n, spec Node) {
	if spec.Fields == nil {
		return
	}
	p := Pod{Kind: n.Get("kind").Text(), Name: n.Get("metadata", "name").Text(), Line: spec.Line, DNSPolicy: spec.Get("dnsPolicy").word()}
	for _, o := range spec.Get("dnsConfig", "options").Items {
		if o.Get("name").Text() == "ndots" {
			v, _ := o.Get("value").scalar()
			p.Ndots, _ = strconv.Atoi(v)
		}
	}
	for _, list := range []string{"initContainers", "containers"} {
		for _, c := range spec.Get(list).Items {
			if len(p.Containers) < maxServers {
				p.Containers = append(p.Containers, Container{
					Name: c.Get("name").Text(), Image: c.Get("image").Text(), Line: c.Line,
					Init: list == "initContainers", Always: c.Get("restartPolicy").Text() == "Always",
				})
			}
		}
	}
	m.Pods = append(m.Pods, p)
}

func (m *Manifests) policy(n Node) {
	for _, rule := range n.Get("spec", "egress").Items {
		if len(m.Egress) >= maxObjects {
			return
		}
		r := EgressRule{Policy: n.Get("metadata", "name").Text(), Line: rule.Line}
		for _, p := range rule.Get("ports").Items {
			if len(r.Ports) < maxServers {
				r.Ports = append(r.Ports, port(p))
			}
		}
		for _, to := range rule.Get("to").Items {
			if len(r.To) < maxServers {
				r.To = append(r.To, Peer{CIDR: to.Get("ipBlock", "cidr").Text(), Pods: to.Get("podSelector").There()})
			}
		}
		m.Egress = append(m.Egress, r)
	}
}

// port reads one entry of `ports`. Without a port it is every port; a port by name is the one that the name usually stands for.
func port(p Node) Port {
	out := Port{Protocol: strings.ToUpper(p.Get("protocol").Text()), Line: p.Line}
	if out.Protocol == "" {
		out.Protocol = "TCP"
	}
	at := p.Get("port")
	switch v, ok := at.Int(); {
	case ok:
		out.First, out.Last, out.Line = v, v, at.Line
		if end, ok := p.Get("endPort").Int(); ok {
			out.Last = end
		}
	case !at.There():
		out.First, out.Last = 0, 65535
	case strings.Contains(at.Text(), "dns"):
		out.First, out.Last = 53, 53
	}
	return out
}
