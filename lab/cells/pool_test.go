package cells

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

// pool is a configuration whose traffic goes to the channel `far` through a pool of two hops that have names.
type pool struct {
	kind     kind
	via      *transport                              // by which the resolver of `far` is asked; nil: DNS over TLS
	says     func(t testing.TB, s *lab.Scene) string // more of the pool
	more     string
	hops     []*hop
	resolver *internet.Resolver // of `far`
}

func (p *pool) host(s *lab.Scene, i int) string {
	return fmt.Sprintf("gw%d-%s.example.net", i, s.Label)
}

func (p *pool) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	p.resolver = lab.Must(s.AddResolver("dns2.example.net"))(t)
	s.Permitted, s.Readers = s.Resolver.Peers(), nil
	for i := range 2 {
		h := &hop{Host: lab.Must(s.AddHost(fmt.Sprintf("member%d", i)))(t), authority: s.Authority.At(53)}
		h.cert = s.CA.Issue([]string{p.host(s, i)}, nil)
		lab.Must(0, s.Authority.Publish(p.host(s, i), h.Host))(t)
		h.open(t, p.kind)
		p.hops = append(p.hops, h)
		s.Permitted = append(s.Permitted, h.peers(p.kind)...)
		s.Readers = append(s.Readers, h.Peers(capture.TCP, p.kind.port)...)
		s.Asking = append(s.Asking, h.Host)
	}
	s.Asking = append(s.Asking, p.resolver.Host)
	if p.kind.tls != nil {
		p.more = fmt.Sprintf(", ca: %q", s.CAFile)
	}
	if p.says != nil {
		p.more += p.says(t, s)
	}
}

func (p *pool) config(s *lab.Scene, resolve string) string {
	var urls []string
	for i := range p.hops {
		urls = append(urls, fmt.Sprintf("%q", fmt.Sprintf("%s://%s:%d", p.kind.scheme, p.host(s, i), p.kind.port)))
	}
	far := fmt.Sprintf("over: direct, proxy: {pool: [%s], sticky: session, health: {every: 1s}%s}, resolve: %s", strings.Join(urls, ", "), p.more, resolve)
	if resolve == "here" {
		there := *s
		there.Resolver = p.resolver
		at := p.resolver.DoTURL()
		if p.via != nil {
			at = p.via.written(&there, "")
		}
		far += ", resolver: " + resolver(s, at)
	}
	return direct(s, s.Resolver.DoTURL()) + "  far: {" + far + "}\nroutes:\n  - {to: \"*\", channel: far}\n"
}

func (p *pool) cell(resolve string) lab.Cell {
	return lab.Cell{Arrange: p.arrange, Start: with(func(s *lab.Scene) string { return p.config(s, resolve) })}
}

// callAs lets curl call a host through the proxy under a name.
func callAs(t testing.TB, s *lab.Scene, user, host string) {
	t.Helper()
	program := s.Client.Program("curl", "--silent", "--show-error", "--verbose", "--fail", "--max-time", "15", "--cacert", s.CAFile,
		"--proxy", "http://"+lab.ProxyAddress, "--proxy-user", user+":x", "https://"+host+"/")
	result := lab.Run(t, program)
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	greeted(t, host, result)
}

func TestB_PoolsFailClosed(t *testing.T) {
	for _, k := range slices.Concat(kinds, secureKinds, []kind{namesOnly}) {
		for _, resolve := range []string{"here", "exit"} {
			if k.tls != nil && resolve == "exit" {
				continue // what is asked of a member does not depend on how it is reached
			}
			name := k.name + "/" + resolve
			dead := &pool{kind: k}
			cell := dead.cell(resolve)
			cell.Before = func(t testing.TB, _ *lab.Scene) {
				for _, h := range dead.hops {
					h.close(t)
				}
			}
			cell.Refused = "HOP_REFUSED"
			cell.After = func(t testing.TB, s *lab.Scene) {
				if _, text := admin(t, s, "/status?pool"); !strings.Contains(text, `"usable":false`) && !strings.Contains(text, `"usable": false`) {
					t.Errorf("the status does not tell of a dead member: %s", text)
				}
			}
			play(t, "B6/every member dead/"+name, cell)

			half := &pool{kind: k}
			cell = half.cell(resolve)
			cell.Before = func(t testing.TB, _ *lab.Scene) { half.hops[0].close(t) }
			cell.After = func(t testing.TB, s *lab.Scene) {
				for i := range 3 {
					served(t, s, other(s, fmt.Sprint("more", i)))
				}
				if len(half.hops[1].log()) == 0 {
					t.Error("the member that lives was never asked")
				}
			}
			play(t, "B6/one member dead/"+name, cell)
		}
	}
}

func TestF_IdentitiesAreNotLinked(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		t.Run("F1 F6/two users/"+string(families), func(t *testing.T) {
			run(t, lab.Cell{Families: families, Start: with(dot), After: func(t testing.TB, s *lab.Scene) { keptApart(t, s) }})
		})
	}
	t.Run("F6/two sessions of a pool", func(t *testing.T) {
		p := &pool{kind: kinds[0]}
		cell := p.cell("here")
		cell.After = func(t testing.TB, s *lab.Scene) {
			for range 3 {
				callAs(t, s, "alice-session-one", other(s, "alice"))
				callAs(t, s, "alice-session-two", other(s, "bob"))
			}
			about := func(h *hop) (n int) {
				for _, target := range h.log() {
					if strings.HasSuffix(target, ":443") {
						n++
					}
				}
				return n
			}
			// Two sessions and two members: each keeps its own. The cell's own call has no session.
			if a, b := about(p.hops[0]), about(p.hops[1]); a < 3 || b < 3 || a+b != 7 {
				t.Errorf("the members were asked for the origin %d and %d times", a, b)
			}
		}
		run(t, cell)
	})
}

// keptApart lets two users ask for one name: each asks for itself, over a connection and a session of TLS of its own.
func keptApart(t testing.TB, s *lab.Scene) {
	t.Helper()
	host := other(s, "shared")
	for range 2 {
		callAs(t, s, "alice-session-one", host)
		callAs(t, s, "bob", host)
		callAs(t, s, "alice-session-two", host)
	}
	conns := map[int]bool{}
	questions := 0
	kind := dnswire.A
	if !s.Origin.Addr4.IsValid() {
		kind = dnswire.AAAA
	}
	for _, q := range s.Resolver.Log() {
		if q.Name == host && q.Type == kind {
			conns[q.Conn] = true
			questions++
		}
		if q.Resumed {
			t.Errorf("a session was resumed across users: %+v", q.Question)
		}
	}
	if questions != 3 || len(conns) != 3 {
		t.Errorf("three identities asked %d times over %d connections", questions, len(conns))
	}
	s.Resolver.DropConns()
	callAs(t, s, "bob", other(s, "later"))
	var last dnstest.Query
	for _, q := range s.Resolver.Log() {
		if q.Name == other(s, "later") {
			last = q
		}
	}
	if !last.Resumed {
		t.Error("no session is ever resumed, so that this cell proves nothing")
	}
}
