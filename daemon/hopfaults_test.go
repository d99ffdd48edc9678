package daemon

import (
	"bufio"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/memory"
)

// hopTroubles is what can be wrong with an upstream proxy, and what a client sees of it.
var hopTroubles = []struct {
	name string
	fail func(*memory.Proxy)
	mend func(*memory.Proxy)
	code fault.Code
	part string
}{
	{"refused", (*memory.Proxy).Stop, (*memory.Proxy).Start, fault.HopRefused, "refused the connection"},
	{"dead", trouble0(memory.Dead), trouble0(memory.None), fault.HopRefused, "does not answer"},
	{"garbage", trouble0(memory.Garbage), trouble0(memory.None), fault.HopRefused, "does not answer as"},
	{"hangs up", trouble0(memory.HangUp), trouble0(memory.None), fault.HopRefused, "closed the connection instead of answering"},
	{"denies", trouble0(memory.Denies), trouble0(memory.None), fault.HopRefused, "refused the request"},
	{
		"wrong password",
		func(p *memory.Proxy) { p.Want("somebody", "else") },
		func(p *memory.Proxy) {
			if p.Name == "hop1" {
				p.Want("jo", "pass word")
			} else {
				p.Want("ann", "s3cret")
			}
		},
		fault.HopAuth, "refused user and password",
	},
}

func trouble0(t memory.Trouble) func(*memory.Proxy) { return func(p *memory.Proxy) { p.Fail(t) } }

// hops gives the proxies of the world's way.
func (w *world) hops() []*memory.Proxy {
	switch w.way {
	case straight:
		return nil
	case bySOCKS:
		return []*memory.Proxy{w.socks}
	case byCONNECT:
		return []*memory.Proxy{w.connect}
	}
	return []*memory.Proxy{w.socks, w.connect}
}

// everyHop runs a test for each proxy of each way, with names resolved here and at the exit.
func everyHop(t *testing.T, test func(w *world, bad *memory.Proxy, conf string)) {
	for _, v := range ways[1:] {
		for _, where := range []string{"here", "exit"} {
			for i := range (&world{way: v, socks: &memory.Proxy{}, connect: &memory.Proxy{}}).hops() {
				t.Run(string(v)+"/"+where+"/"+[]string{"first", "second"}[i], func(t *testing.T) {
					inWorld(t, v, dot, func(w *world) {
						conf := w.text()
						if where == "exit" {
							conf = w.exit()
							w.nameAtExit()
						}
						test(w, w.hops()[i], conf)
					})
				})
			}
		}
	}
}

func atExit(conf string) bool { return strings.Contains(conf, "resolve: exit") }

// silence is what a client is told where a proxy accepts connections and says nothing: the proxy is named. Of one
// that has the request by then, nobody can tell whether it is silent itself or what is behind it.
func (w *world) silence(p *memory.Proxy, conf string) (fault.Code, string, string) {
	switch {
	case !atExit(conf) && p == w.connect:
		return fault.DNSTimeout, "did not connect to the resolver", hopLabel
	case p == w.connect:
		return fault.ConnectTimeout, "did not connect in time", hopLabel
	}
	return fault.HopRefused, "does not answer", hopLabel
}

// nameAtExit permits the last proxy, and the links to it, to be told the name.
func (w *world) nameAtExit() {
	last := w.hops()[len(w.hops())-1]
	links := []string{memory.Program + " > " + w.hops()[0].At.String()}
	if w.way == byChain {
		links = append(links, "hop1 > "+last.At.String())
	}
	w.allowed.Secrets[canary] = []string{last.Name}
	w.allowed.Clear = map[string][]string{canary: links}
}

func TestAProxyThatFails_isAFaultThatNamesIt_andNoOtherWayIsTaken(t *testing.T) {
	for _, bad := range hopTroubles {
		t.Run(bad.name, func(t *testing.T) {
			everyHop(t, func(w *world, p *memory.Proxy, conf string) {
				w.ready(conf)
				w.reaches("four."+canary+".example.com:443", "origin")
				bad.fail(p)
				p.Kill()
				w.own.Drop()
				before := w.Dials(originAt)
				code, part, who := bad.code, bad.part, hopLabel
				if bad.name == "dead" {
					code, part, who = w.silence(p, conf)
				}
				if f := w.fails(target, code, part); f != nil && !strings.Contains(f.Message, who) {
					w.t.Errorf("which proxy failed? %v", f)
				}
				if w.Dials(originAt) != before {
					w.t.Error("the target was reached another way")
				}
				bad.mend(p)
				time.Sleep(later)
				w.reaches(target, "origin")
			})
		})
	}
}

func TestAProxyThatFailsFromTheStart_neverMakesTheChannelReady(t *testing.T) {
	for _, bad := range hopTroubles {
		t.Run(bad.name, func(t *testing.T) {
			everyHop(t, func(w *world, p *memory.Proxy, conf string) {
				bad.fail(p)
				w.run(conf)
				code, part := bad.code, bad.part
				if bad.name == "dead" {
					code, part, _ = w.silence(p, conf)
				}
				if !atExit(conf) {
					code = fault.NotReady
					if bad.name == "dead" {
						part = "not ready" // the request may give up before the resolver does
					}
				}
				w.fails(target, code, part)
				bad.mend(p)
				time.Sleep(later)
				w.reaches(target, "origin")
			})
		})
	}
}

func TestAProxyThatDiesMidStream_endsTheTunnel_andTheNextOneIsRefused(t *testing.T) {
	everyHop(t, func(w *world, p *memory.Proxy, conf string) {
		w.ready(conf)
		conn, err := w.dial(target)
		if err != nil {
			w.t.Fatal(err)
		}
		defer conn.Close()
		w.talks(conn, "origin")
		p.Stop()
		if _, err := io.ReadAll(conn); err != nil {
			w.t.Errorf("the tunnel did not end: %v", err)
		}
		w.fails(target, fault.HopRefused, "refused the connection")
		p.Start()
	})
}

func TestWithResolveHere_theProxyGetsAnAddress_andWithResolveExitTheName(t *testing.T) {
	for _, v := range ways[1:] {
		t.Run(string(v), func(t *testing.T) {
			inWorld(t, v, doh, func(w *world) {
				w.ready(w.text())
				w.reaches(target, "origin")
				for _, p := range w.hops() {
					for _, asked := range p.Asked() {
						if _, err := netip.ParseAddrPort(asked); err != nil {
							w.t.Errorf("%s was asked for %s", p.Name, asked)
						}
					}
				}
			})
			inWorld(t, v, doh, func(w *world) {
				w.nameAtExit()
				w.ready(w.exit())
				w.reaches(target, "origin")
				last := w.hops()[len(w.hops())-1]
				if !slices.Equal(last.Asked(), []string{target}) {
					w.t.Errorf("the exit was asked for %q", last.Asked())
				}
			})
		})
	}
}

func TestSuccessIsSaidOnlyOnceTheOriginIsConnected(t *testing.T) { // leaks.md, D7
	for _, v := range ways {
		for _, bad := range []struct {
			name string
			code fault.Code
		}{{"refused", fault.ConnectRefused}, {"blackholed", fault.ConnectTimeout}} {
			t.Run("D7 "+bad.name+"/"+string(v), func(t *testing.T) {
				inWorld(t, v, dot, func(w *world) {
					nobody := netip.MustParseAddrPort("93.184.216.34:8443")
					w.Blackhole(nobody, bad.name == "blackholed")
					w.allow(nobody)
					w.ready(w.text())
					w.fails(hostName+":8443", bad.code, "")
					w.fails(nobody.String(), bad.code, "")
				})
			})
		}
	}
}

// allow lets the end of the world's way dial one more address.
func (w *world) allow(to netip.AddrPort) {
	end := memory.Program
	if hops := w.hops(); len(hops) > 0 {
		end = hops[len(hops)-1].Name
	}
	w.allowed.Dials[end] = append(w.allowed.Dials[end], to)
}

func TestTheControl_anHonestDialerPassesTheVerdict_andEveryLeakIsCaught(t *testing.T) {
	// What a leaky program would do beside, or instead of, the honest dial; and what the verdict has to say.
	for _, c := range []struct {
		name string
		leak func(*world)
		want string // empty: no leak
	}{
		{"honest", func(*world) {}, ""},
		{"asks the ISP in clear", func(w *world) { w.askPlain(hostName) }, "to the wrong resolver: isp learned " + hostName},
		{"asks the ISP in clear, seen on the way", func(w *world) { w.askPlain(hostName) }, "in clear: " + canary},
		{"asks the ISP for the proxy", func(w *world) { w.askPlain(hop1Name) }, "to the wrong resolver: isp learned " + hop1Name},
		{"asks another resolver, encrypted", func(w *world) { w.leakTo(w.other, hostName) }, "to the wrong resolver: other learned " + hostName},
		{"asks the resolver below, encrypted", func(w *world) { w.leakTo(w.below, hostName) }, "to the wrong resolver: below learned " + hostName},
		{"dials the target past the proxy", func(w *world) { w.says(originAt, "") }, "outside the channel: program > " + originAt.String()},
		{"dials anything else", func(w *world) { w.says(netip.MustParseAddrPort("192.0.2.1:443"), "") }, "outside the channel"},
		{"gives the proxy the name", func(w *world) { w.says(socksAt, "\x05\x01\x00\x03\x20"+hostName) }, "in clear: " + canary},
		{"says it in other letters", func(w *world) { w.says(socksAt, strings.ToUpper(hostName)) }, "in clear: " + canary},
		{"says it in base64", func(w *world) { w.says(socksAt, "aaYXBpLmNhbmFyeTdmM2s5cTJ4LmV4YW1wbGUuY29t") }, "in clear: " + canary},
		{"says it in hexadecimal", func(w *world) { w.says(socksAt, "63616e61727937663366") }, ""},
		{"says it in hexadecimal, whole", func(w *world) { w.says(socksAt, "63616e617279376633 6b"[:18]+"6b39713278") }, "in clear: " + canary},
		{"resolves what a proxy says", func(w *world) { w.askPlain(memory.BoundName) }, "a name in a reply"},
	} {
		t.Run("leaky control/"+c.name, func(t *testing.T) {
			synctestWorld(t, bySOCKS, dot, func(w *world) {
				w.ready(w.text())
				c.leak(w)
				w.reaches(target, "origin") // the far end sees nothing wrong
				leaks := w.Leaks(w.allowed)
				switch caught := slices.ContainsFunc(leaks, func(l string) bool { return strings.HasPrefix(l, c.want) }); {
				case c.want == "" && len(leaks) > 0:
					w.t.Errorf("no leak was made, and these were caught: %q", leaks)
				case c.want != "" && !caught:
					w.t.Errorf("a leak went unnoticed: want %q among %q", c.want, leaks)
				}
			})
		})
	}
}

// says dials an address as the program and sends a text.
func (w *world) says(to netip.AddrPort, text string) {
	conn, err := w.Ground(memory.Program).DialAddr(w.t.Context(), to)
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text)
}

// askPlain asks the ISP, as a program does that was left to the host's resolver.
func (w *world) askPlain(host string) {
	w.t.Helper()
	conn, err := w.Ground(memory.Program).DialAddr(w.t.Context(), netip.MustParseAddrPort("185.1.1.1:53"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	b, err := dnswire.Query(dnswire.Question{Name: host, Type: dnswire.A}, 7, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	_, _ = conn.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
	if _, err := bufio.NewReader(conn).ReadByte(); err != nil {
		w.t.Errorf("the ISP did not answer, so that a leak would not succeed: %v", err)
	}
}

// leakTo asks another resolver over a channel of its own, as a program does whose rule or cache went wrong.
func (w *world) leakTo(r *memory.Resolver, host string) {
	w.t.Helper()
	g, err := build(w.parse("channels: {direct: {resolver: {upstreams: ["+w.upstream(belowName, r.Addr)+"]}}}"), w.shared(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	g.start(w.t.Context())
	defer g.discard(nil)
	if _, err := g.channels[0].Lookup(w.t.Context(), host); err != nil {
		w.t.Errorf("the leak did not succeed: %v", err)
	}
}
