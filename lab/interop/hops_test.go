package interop

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// hopKind is a kind of proxy that others wrote.
type hopKind struct {
	name   string
	scheme string
	port   uint16
	login  servers.Login
	start  func(t testing.TB, h *internet.Host) *internet.Process

	// secure is start for a hop that is spoken with over TLS.
	secure func(t testing.TB, h *internet.Host, j *journey, c *hop) *internet.Process
}

func (k hopKind) overTLS() bool { return k.secure != nil }

func (k hopKind) run(t testing.TB, j *journey, h *hop) *internet.Process {
	if k.overTLS() {
		return k.secure(t, h.host, j, h)
	}
	return k.start(t, h.host)
}

func dante() hopKind {
	return hopKind{name: "dante", scheme: "socks5", port: servers.PortSOCKS, start: servers.Dante}
}

func microsocks() hopKind {
	return hopKind{name: "microsocks", scheme: "socks5", port: servers.PortSOCKS, login: ada, start: func(t testing.TB, h *internet.Host) *internet.Process {
		return servers.Microsocks(t, h, ada)
	}}
}

func squid() hopKind {
	return hopKind{name: "squid", scheme: "http", port: servers.PortProxy, login: ada, start: func(t testing.TB, h *internet.Host) *internet.Process {
		return servers.Squid(t, h, ada)
	}}
}

func tinyproxy() hopKind {
	return hopKind{name: "tinyproxy", scheme: "http", port: servers.PortProxy, login: ada, start: func(t testing.TB, h *internet.Host) *internet.Process {
		return servers.Tinyproxy(t, h, ada)
	}}
}

func hopKinds() []hopKind { return []hopKind{dante(), microsocks(), squid(), tinyproxy()} }

// Where the last hop's client has its names resolved, as the configuration says it.
const (
	here = "here"
	exit = "exit"
)

// hop is a real proxy on a host of its own.
type hop struct {
	hopKind
	host    *internet.Host
	gateway string // its name
	process *internet.Process
}

func (h *hop) url(byName bool) string {
	at := text(h.host.Addr())
	if byName {
		at = h.gateway
	}
	user := ""
	if h.login != (servers.Login{}) {
		user = h.login.User + ":" + h.login.Password + "@"
	}
	return fmt.Sprintf("%s://%s%s:%d", h.scheme, user, at, h.port)
}

// journey is a channel that leads through real proxies.
type journey struct {
	kinds   []hopKind // first hop first
	byName  bool      // the hops are named by host name
	resolve string    // here or exit
	// impostor says that the hops over TLS have certificates for another name.
	impostor bool
	issue    func(names []string, ips []netip.Addr) tls.Certificate

	hops   []*hop
	beyond *internet.Resolver // of the channel, reached through the hops; for here
}

// arrange starts the hops. All that the client may talk to is the first of them, and the resolver that finds it.
func (j *journey) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	j.hops, j.issue = nil, s.CA.Issue
	for i, kind := range j.kinds {
		h := &hop{hopKind: kind, gateway: fmt.Sprintf("gw%d-%s.hops.example.net", i, kind.name)}
		h.host = lab.Must(s.AddHost(fmt.Sprintf("hop%d", i)))(t)
		must(t, s.Authority.Publish(h.gateway, h.host))
		h.process = kind.run(t, j, h)
		j.hops = append(j.hops, h)
	}
	first := j.hops[0].host.Peers(capture.TCP, j.hops[0].port)
	s.Permitted = append(s.Resolver.Peers(), first...)
	if !j.hops[0].overTLS() {
		s.Readers = first
	}
	if j.resolve == here {
		j.beyond = lab.Must(s.AddResolver("beyond.example.net"))(t)
		s.Asking = []*internet.Host{j.beyond.Host}
	} else {
		s.Asking = []*internet.Host{provider(s)}
	}
}

func (j *journey) config(s *lab.Scene) string {
	text := lab.DirectConfig(s, s.Resolver.DoTURL()) + "  through:\n    proxy:\n"
	for _, h := range j.hops {
		if h.overTLS() {
			text += fmt.Sprintf("      - {url: %q, ca: %q}\n", h.url(j.byName), s.CAFile)
			continue
		}
		text += fmt.Sprintf("      - %q\n", h.url(j.byName))
	}
	if j.resolve == here {
		text += fmt.Sprintf("    resolver:\n      upstreams:\n        - {url: %q, ca: %q}\n", j.beyond.DoTURL(), s.CAFile)
	} else {
		text += "    resolve: exit\n"
	}
	return text + "routes:\n  - {to: \"*\", channel: through}\n"
}

// certificate is what a hop over TLS shows.
func (j *journey) certificate(h *hop) tls.Certificate {
	if j.impostor {
		return j.issue([]string{"somebody.else.example.net"}, nil)
	}
	return j.issue([]string{h.gateway}, h.host.Addrs())
}

func (j *journey) startProxy(t testing.TB, s *lab.Scene) string {
	t.Helper()
	lab.StartWatertight(t, s, j.config(s))
	return lab.ProxyAddress
}

// last gives the hop that dials the destination.
func (j *journey) last() *hop { return j.hops[len(j.hops)-1] }

// checkAsked looks at who asked whom for the canary, and for the hops' names.
func (j *journey) checkAsked(t testing.TB, s *lab.Scene) {
	t.Helper()
	untrapped(t, s)
	asked := askers(s.ISP.Log(), s.Canary)
	if j.resolve == here {
		if len(asked) != 0 {
			t.Errorf("the name is resolved here, but the provider was asked for it by %v", asked)
		}
		if who := askers(s.Authority.Log(), s.Canary); len(who) != 1 || !j.beyond.Has(who[0]) {
			t.Errorf("the channel's own resolver alone should have asked the authority, which was asked by %v", who)
		}
		for _, q := range j.beyond.DoT.Log() {
			if from := lab.Must(addrOf(q.Client))(t); !j.last().host.Has(from) {
				t.Errorf("the channel's resolver was asked from %v, which is not its last hop", from)
			}
		}
	} else {
		for _, a := range asked {
			if !j.last().host.Has(a) {
				t.Errorf("the last hop alone should have resolved the name, but %v did", a)
			}
		}
		if len(asked) == 0 {
			t.Error("the last hop did not resolve the name: who did?")
		}
	}
	if slices.Contains(s.Resolver.DoT.Names(), s.Canary) {
		t.Error("the channel underneath was asked for the canary")
	}
	for _, h := range j.hops {
		wanted := 0
		if j.byName {
			wanted = 1
		}
		for _, a := range askers(s.Authority.Log(), h.gateway) {
			wanted--
			if !s.Resolver.Has(a) {
				t.Errorf("the hop's name was resolved by %v, not in the channel underneath", a)
			}
		}
		if wanted != 0 {
			t.Errorf("the name of %s: %d hosts too few asked the authority for it", h.name, wanted)
		}
	}
}

// checkGiven looks at what the first hop was told, before any TLS began inside: an address, or the name.
func (j *journey) checkGiven(t testing.TB, s *lab.Scene, e *lab.Evidence) {
	t.Helper()
	told, carried := false, false
	for _, stream := range capture.Streams(e.Packets) {
		if stream.First.To.Port() != j.hops[0].port || !j.hops[0].host.Has(stream.First.To.Addr()) {
			continue
		}
		head, _, inside := bytes.Cut(stream.Data, []byte{22, 3, 1}) // the client hello
		carried = carried || inside
		told = told || inside && bytes.Contains(head, []byte(s.Canary))
	}
	if !carried {
		t.Error("no TLS was seen on its way to the first hop: who carried the call?")
	}
	hidden := slices.ContainsFunc(j.hops, func(h *hop) bool { return h.overTLS() })
	if told != (j.resolve == exit && !hidden) {
		t.Errorf("resolve: %s, and the proxy was told the name: %v", j.resolve, told)
	}
	for _, h := range j.hops {
		if h.overTLS() { // its handshake says its name (SNI)
			continue
		}
		for _, hit := range capture.Search(e.Packets, h.gateway) {
			// The later hops are told to the first, by address: their names are looked up underneath.
			t.Errorf("the hop's name, as %s, in %v", hit.Form, hit.Packet)
		}
	}
}

// run plays the journey as a cell.
func (j *journey) run(t *testing.T, families internet.Families, client lab.Client, scheme string) {
	t.Helper()
	var scene *lab.Scene
	e := lab.Cell{
		Families: families, Client: client, Scheme: scheme, Start: j.startProxy,
		Arrange: func(t testing.TB, s *lab.Scene) {
			scene = s
			j.arrange(t, s)
		},
		After: func(t testing.TB, s *lab.Scene) {
			j.checkAsked(t, s)
			for _, h := range j.hops { // squid takes its time to stop by itself
				h.process.Kill()
			}
		},
	}.Run(t)
	j.checkGiven(t, scene, e)
}

func TestHops_CarryACallHoweverTheyAreNamedAndWhoeverResolves(t *testing.T) {
	t.Parallel()
	for _, families := range internet.AllFamilies() {
		for _, kind := range hopKinds() {
			for _, resolve := range []string{here, exit} {
				for _, byName := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s/%s/%s/by name %v", families, kind.name, resolve, byName), func(t *testing.T) {
						(&journey{kinds: []hopKind{kind}, byName: byName, resolve: resolve}).run(t, families, lab.Curl, "http")
					})
				}
			}
		}
	}
}

func TestHops_OfTwoKindsMakeAChain(t *testing.T) {
	for _, chain := range [][]hopKind{
		{dante(), squid()},
		{microsocks(), tinyproxy()},
		{squid(), microsocks()},
		{tinyproxy(), dante()},
	} {
		for _, resolve := range []string{here, exit} {
			for _, byName := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s then %s/%s/by name %v", chain[0].name, chain[1].name, resolve, byName), func(t *testing.T) {
					(&journey{kinds: chain, byName: byName, resolve: resolve}).run(t, internet.Dual, lab.Curl, "socks5h")
				})
			}
		}
	}
}

func TestHops_ThatAreStoppedMeanARefusalAndAreUsedAgainWhenTheyAreBack(t *testing.T) {
	t.Parallel()
	for _, kind := range hopKinds() {
		for _, resolve := range []string{here, exit} {
			t.Run(kind.name+"/"+resolve, func(t *testing.T) {
				j := &journey{kinds: []hopKind{kind}, byName: true, resolve: resolve}
				lab.Cell{
					Families: internet.Dual, Client: lab.Curl, Arrange: j.arrange, Start: j.startProxy, Refused: "HOP_REFUSED",
					Before: func(t testing.TB, s *lab.Scene) {
						mustReach(t, s, "before")
						j.last().process.Kill()
					},
					After: func(t testing.TB, s *lab.Scene) {
						j.last().process = kind.run(t, j, j.last())
						mustReachAgain(t, s, "after")
						untrapped(t, s)
					},
				}.Run(t)
			})
		}
	}
}

func TestHops_ThatRefuseThePasswordAreNamedAndNothingElseIsTried(t *testing.T) {
	for _, kind := range hopKinds() {
		if kind.login == (servers.Login{}) {
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			j := &journey{kinds: []hopKind{kind}, byName: true, resolve: exit}
			lab.Cell{
				Families: internet.Dual, Client: lab.Curl, Start: j.startProxy, Refused: "HOP_AUTH",
				Arrange: func(t testing.TB, s *lab.Scene) {
					j.arrange(t, s)
					j.hops[0].login.Password = "wrong"
				},
				After: untrapped,
			}.Run(t)
		})
	}
}
