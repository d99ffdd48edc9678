package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var clientDirect = doctor.Rule{
	ID: "CLIENT-DIRECT", Severity: doctor.Critical, Systems: []string{"linux"},
	Title:   "a program that was told to use Watertight connects past it, at this moment",
	Clients: []string{"the programs that are named", "usual ones: Node, the SDKs of OpenAI, Anthropic and AWS for it, Java, gRPC with a URL that it dislikes, aiohttp, websockets"},
	Explain: `Variables are a request. Measured with HTTPS_PROXY set in both cases: Node 20 and 24 (fetch, https), the Node SDKs of OpenAI, Anthropic
and AWS, got, ws, superagent, aiohttp without trust_env, tornado, websockets 10, psql, every stack of Java, PHP streams, bun's
node:https and Playwright's request.newContext() connect directly, with a look-up in clear text before that.
Looked for: TCP connections and connected UDP to port 80 or 443 of another host, of processes that were started with a proxy
variable which leads to a listener of ours. Addresses that their NO_PROXY names are left out; a name in NO_PROXY cannot be told
from the address it has: it is named in the evidence, and the finding is medium where it may be the reason for all.
It is a look at one moment: a program that is silent now is not cleared by it.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		if h.HandedOver() {
			return nil
		}
		told := map[int]string{} // by process: its NO_PROXY
		for _, p := range h.Processes {
			if np, ok := proxied(h, p); ok && !h.Own(p) {
				told[p.PID] = np
			}
		}
		if len(told) == 0 {
			return nil
		}
		f := doctor.Finding{Severity: doctor.Medium, Fix: "watertight exec -- PROGRAM   # holds it, whatever it reads\n# or a setting of the program's own: docs/clients.md"}
		programs := map[int]bool{}
		for _, s := range h.Sockets(func(s read.Socket) bool { return leaves(s) && !h.IsOurs(s.Remote) }) {
			noProxy, ok := told[s.Process.PID]
			if !ok || !s.Known || excepted(noProxy, s.Remote.Addr()) {
				continue
			}
			programs[s.Process.PID] = true
			text := s.String()
			if names := namesIn(noProxy); names != "" {
				text += " (its NO_PROXY has " + names + ")"
			} else {
				f.Severity = doctor.Critical
			}
			f.Evidence = append(f.Evidence, text)
		}
		f.Fact = fmt.Sprintf("%d programs have our proxy in their environment and connect past it", len(programs))
		if len(programs) == 1 {
			f.Fact = "a program has our proxy in its environment and connects past it"
		}
		return doctor.Only(f)
	},
}

// proxied says whether a process was told to use a listener of ours, and gives what it was told to leave out.
func proxied(h *doctor.Host, p doctor.Process) (noProxy string, ok bool) {
	for _, name := range doctor.ProxyVars {
		if v, has := p.Env(name); has && v != "" {
			if u, _ := doctor.ReadProxyURL(v); u.Is(h.Ours()) {
				ok = true
			}
		}
	}
	for _, name := range doctor.NoProxyVars {
		if v, has := p.Env(name); has && v != "" {
			noProxy += "," + v
		}
	}
	return noProxy, ok
}

// leaves says whether a socket leads to the web on another host.
func leaves(s read.Socket) bool {
	if s.State != read.Established && s.State != read.SynSent || s.Remote.Addr().IsLoopback() || s.Remote.Addr().IsUnspecified() {
		return false
	}
	return s.Remote.Port() == 443 || s.Remote.Port() == 80 && s.Proto == "tcp"
}

// words of a NO_PROXY.
func words(noProxy string) []string {
	return strings.FieldsFunc(noProxy, func(r rune) bool { return r == ',' || r == ' ' })
}

// excepted says whether NO_PROXY names an address, or everything.
func excepted(noProxy string, a netip.Addr) bool {
	for _, w := range words(noProxy) {
		if w == "*" {
			return true // another rule's
		}
		if p, err := netip.ParsePrefix(w); err == nil && p.Contains(a) {
			return true
		}
		if one, err := netip.ParseAddr(strings.Trim(w, "[]")); err == nil && one == a {
			return true
		}
	}
	return false
}

// namesIn gives the names of a NO_PROXY beyond this host's.
func namesIn(noProxy string) string {
	var names []string
	for _, w := range words(noProxy) {
		_, err1 := netip.ParseAddr(strings.Trim(w, "[]"))
		_, err2 := netip.ParsePrefix(w)
		if err1 != nil && err2 != nil && w != "localhost" && !slices.Contains(names, w) && len(names) < 5 {
			names = append(names, w)
		}
	}
	return strings.Join(names, ", ")
}
