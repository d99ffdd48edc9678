package interop

import (
	"strings"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
)

// site is a host that is visited under the canary's name.
type site struct {
	host  *internet.Host
	ports []uint16
	root  string // of nginx, which serves and takes files
}

func (w *site) peers() []capture.Peer {
	var all []capture.Peer
	for _, port := range w.ports {
		all = append(all, w.host.Peers(capture.TCP, port)...)
	}
	return all
}

// visit is what a test does at a site, with a program whose proxy is this; empty: none.
type visit func(t testing.TB, s *lab.Scene, w *site, proxy string)

// calls lets a program run, which must succeed, and gives what it wrote.
func calls(t testing.TB, p *internet.Program) internet.Result {
	t.Helper()
	r := lab.Run(t, p)
	if r.Err != nil || r.Code != 0 {
		t.Errorf("%s failed (%v, exit code %d):\n%s", p.Path, r.Err, r.Code, r.Text())
	}
	return r
}

func curl(s *lab.Scene, proxy string, args ...string) *internet.Program {
	args = append([]string{"--silent", "--show-error", "--verbose", "--fail", "--max-time", "120", "--cacert", s.CAFile}, args...)
	if proxy != "" {
		args = append(args, "--proxy", proxy)
	}
	return s.Client.Program("curl", args...)
}

// over is a way in which a site is visited by way of the proxy.
type over struct {
	name    string
	arrange func(t testing.TB, s *lab.Scene, w *site)
	config  func(s *lab.Scene) string
	check   func(t testing.TB, s *lab.Scene)
}

const allowPlain = "policy: {plain_http: allow}\n"

// overDirect visits by the channel direct, with the scene's own resolver.
func overDirect() over {
	return over{
		name: "direct",
		arrange: func(_ testing.TB, s *lab.Scene, w *site) {
			s.Permitted = append(s.Resolver.Peers(), w.peers()...)
			s.Readers = w.peers()
		},
		config: func(s *lab.Scene) string { return lab.DirectConfig(s, s.Resolver.DoHURL()) + allowPlain },
		check:  untrapped,
	}
}

// overHop visits through a real hop.
func overHop(kind hopKind) over {
	j := &journey{kinds: []hopKind{kind}, byName: true, resolve: here}
	return over{
		name:    kind.name,
		arrange: func(t testing.TB, s *lab.Scene, _ *site) { j.arrange(t, s) },
		config:  func(s *lab.Scene) string { return j.config(s) + allowPlain },
		check: func(t testing.TB, s *lab.Scene) {
			j.checkAsked(t, s)
			for _, h := range j.hops {
				h.process.Kill()
			}
		},
	}
}

// sealedVisit plays a visit three times: without a proxy and by way of a leaky one, which both must be seen leaking,
// and by way of Watertight, which must not. The ordinary proxy speaks CONNECT and SOCKS only, so a visit over plain
// HTTP is without that control.
func sealedVisit(t *testing.T, build func(testing.TB, *lab.Scene) *site, way over, scheme string, do visit, withLeaky bool) {
	t.Helper()
	controls := map[string]func(t testing.TB, s *lab.Scene) string{
		"positive control": func(testing.TB, *lab.Scene) string { return "" },
	}
	if withLeaky {
		controls["leaky control"] = func(t testing.TB, s *lab.Scene) string {
			return scheme + "://" + lab.StartOrdinaryProxy(t, s.Client)
		}
	}
	for name, proxy := range controls {
		held := false // stays so for a control that is skipped, or left out by `go test -run`
		t.Run(name, func(t *testing.T) {
			s := lab.NewScene(t, internet.Dual)
			w := build(t, s)
			do(t, s, w, proxy(t, s))
			e := s.Gather(t, internet.Result{})
			leaks := strings.Join(s.Leaks(e), "\n")
			for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
				if !strings.Contains(leaks, want) {
					t.Errorf("a leak went unseen: nothing says %q", want)
				}
			}
			held = !t.Failed()
		})
		if !held {
			t.Fatal("INVALID: a control did not hold, so this case proves nothing")
		}
	}
	s := lab.NewScene(t, internet.Dual)
	w := build(t, s)
	way.arrange(t, s, w)
	lab.StartWatertight(t, s, way.config(s))
	do(t, s, w, scheme+"://"+lab.ProxyAddress)
	way.check(t, s)
	e := s.Gather(t, internet.Result{})
	for _, leak := range s.Leaks(e) {
		t.Error("LEAK:", leak)
	}
	if len(e.Authority) == 0 {
		t.Error("the authority was never asked for the name: who resolved it?")
	}
}

func ways() []over { return []over{overDirect(), overHop(dante()), overHop(squid())} }
