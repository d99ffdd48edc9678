package cells

import (
	"slices"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// hopFaults are what can be wrong with a hop, and what a client is told: by `resolve: here`, where the way to the
// resolver is lost first, and by `resolve: exit`.
var hopFaults = []struct {
	id string
	// bring lets the fault come, on the hop's host where nothing listens.
	bring      func(t testing.TB, f *farChannel)
	here, exit string
	// early is what the client is told, besides NOT_READY, where the fault is there from the start. Empty: it depends
	// on which time-out is first.
	early string
	slow  bool
	late  bool // it cannot be there from the start
}{
	{"refused", func(testing.TB, *farChannel) {}, "(HOP_REFUSED)", "(HOP_REFUSED)", "refused the connection", false, false},
	{"accepting and silent", func(t testing.TB, f *farChannel) {
		listen(t, f.hop.Host, f.kind.port) // the kernel accepts
	}, "(HOP_REFUSED)", "(HOP_REFUSED)", "", true, false},
	{"hanging up", func(t testing.TB, f *farChannel) {
		f.hop.hangsUp.Store(true)
		f.hop.open(t, f.kind)
	}, "(HOP_REFUSED)", "(HOP_REFUSED)", "closed the connection", false, false},
	{"dying mid-stream", func(t testing.TB, f *farChannel) {
		f.hop.cut.Store(true)
		f.hop.open(t, f.kind)
	}, brokenTunnel, brokenTunnel, "", false, true},
}

// brokenTunnel is what curl shows where a tunnel was opened: what comes then is an error of TLS.
const brokenTunnel = "HTTP/1.1 200"

// patient is curl that waits longer for an answer than the proxy does for a hop.
var patient = func() lab.Client {
	c := lab.Curl
	c.Program = func(h *internet.Host, call lab.Call) *internet.Program {
		p := lab.Curl.Program(h, call)
		p.Args[slices.Index(p.Args, "--max-time")+1] = "40"
		return p
	}
	return c
}()

func TestFaults_OfAHop(t *testing.T) {
	t.Parallel()
	for _, f := range hopFaults {
		for _, kind := range slices.Concat(kinds, secureKinds) {
			for resolve, code := range map[string]string{"here": f.here, "exit": f.exit} {
				if f.slow && kind.scheme == "http" && resolve == "exit" {
					code = "(CONNECT_TIMEOUT)" // the hop has the request: its silence may be the far side's
				}
				if f.slow && kind.scheme == "http" && resolve == "here" {
					code = "(DNS_TIMEOUT)" // its silence may be the resolver's
				}
				t.Run(f.id+"/after readiness/"+kind.name+"/"+resolve, func(t *testing.T) {
					if f.slow {
						t.Parallel()
					}
					far := &farChannel{kind: kind}
					c := far.cell(resolve)
					c.Client, c.Refused = patient, code
					c.Before = func(t testing.TB, _ *lab.Scene) {
						far.hop.close(t)
						f.bring(t, far)
					}
					run(t, c)
				})
			}
			if f.late {
				continue
			}
			t.Run(f.id+"/from the start/"+kind.name, func(t *testing.T) {
				t.Parallel()
				far := &farChannel{kind: kind}
				c := far.cell("here")
				arrange := c.Arrange
				c.Arrange = func(t testing.TB, s *lab.Scene) {
					arrange(t, s)
					far.hop.close(t)
					f.bring(t, far)
				}
				c.Start = new(running).unready(func(s *lab.Scene) string { return far.config(s, "here") })
				c.Refused = "(NOT_READY)"
				if e := run(t, c); !strings.Contains(e.Client.Text(), f.early) {
					t.Errorf("the client was not told %q: %s", f.early, e.Client.Text())
				}
			})
		}
	}

	login := servers.Login{User: "somebody", Password: "correct-horse"}
	for _, real := range []struct {
		id    string
		kind  kind
		start func(t testing.TB, h *internet.Host)
	}{
		{"a wrong password/microsocks", kinds[0], func(t testing.TB, h *internet.Host) { servers.Microsocks(t, h, login) }},
		{"a wrong password/tinyproxy", kinds[1], func(t testing.TB, h *internet.Host) { servers.Tinyproxy(t, h, login) }},
		{"a wrong password/squid", kinds[1], func(t testing.TB, h *internet.Host) { servers.Squid(t, h, login) }},
	} {
		for _, user := range []string{"somebody:battery-staple@", ""} {
			t.Run(real.id+"/"+map[bool]string{true: "none", false: "another"}[user == ""], func(t *testing.T) {
				var proxy running
				far := &farChannel{kind: real.kind, login: user}
				c := far.cell("exit")
				arrange := c.Arrange
				c.Arrange = func(t testing.TB, s *lab.Scene) {
					arrange(t, s)
					far.hop.close(t)
					real.start(t, far.hop.Host)
				}
				c.Start = proxy.with(func(s *lab.Scene) string { return far.config(s, "exit") })
				c.Refused = "(HOP_AUTH)"
				e := run(t, c)
				for what, text := range map[string]string{"the client": e.Client.Text(), "the log": proxy.Sofar().Text()} {
					if strings.Contains(text, "battery-staple") {
						t.Errorf("the password was shown to %s: %s", what, text)
					}
				}
			})
		}
	}

	for _, kind := range kinds {
		t.Run("blackholed/"+kind.name, func(t *testing.T) {
			t.Parallel()
			far := &farChannel{kind: kind}
			c := far.cell("here")
			c.Before, c.Refused = blackholed, "(DNS_TIMEOUT)"
			run(t, c)
		})
	}

	t.Run("the last of a chain refuses what it is asked for", func(t *testing.T) {
		far := &farChannel{kind: kinds[0]}
		c := far.cell("here")
		arrange := c.Arrange
		c.Arrange = func(t testing.TB, s *lab.Scene) {
			arrange(t, s)
			empty := lab.Must(s.AddHost("empty"))(t)
			lab.Must(0, s.Authority.Publish(s.Canary, empty))(t)
			far.hop.close(t)
			servers.Microsocks(t, far.hop.Host, servers.Login{})
		}
		c.Families = internet.V4
		c.Refused = "(CONNECT_REFUSED)"
		run(t, c)
	})
}
