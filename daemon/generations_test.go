package daemon

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/config"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnstest"
)

// asked says how often the channel's resolver was asked for the canary's address.
func (w *world) asked() int { return w.own.Count(hostName, dnswire.A) }

func TestACacheIsKept_whereTheChannelIsTheSame(t *testing.T) {
	for _, v := range ways {
		t.Run(string(v), func(t *testing.T) {
			inWorld(t, v, doh, func(w *world) {
				w.ready(w.text())
				w.reaches(target, "origin")
				before := slices.Clone(w.g.channels)
				w.extra = "policy: {client_resolved: allow}\nlog: {level: warn}\n" // of no concern to a channel
				w.ready(w.text())
				w.reaches(target, "origin")
				if w.asked() != 1 {
					w.t.Errorf("asked %d times: the cache was lost", w.asked())
				}
				for i, r := range w.g.channels {
					if r != before[i] {
						w.t.Errorf("the channel %s was opened anew", r.Name())
					}
				}
			})
		})
	}
}

func TestACacheIsEmptied_whereTheChannelIsAnother(t *testing.T) {
	for what, change := range map[string]func(w *world, text string) string{
		"another resolver time-out": func(w *world, _ string) string { return w.text("timeout: 4s") },
		"another cache":             func(w *world, _ string) string { return w.text("cache: {size: 5}") },
		"stale answers":             func(w *world, _ string) string { return w.text("cache: {stale: 1h}") },
		"no prefetch":               func(w *world, _ string) string { return w.text("cache: {prefetch: false}") },
		"another pin": func(w *world, text string) string {
			return strings.Replace(text, w.upstream(ownName, ownAddr), w.upstream(ownName, ownAddr, authority.CA.Pin()), 1)
		},
		"another password of the proxy": func(w *world, text string) string {
			w.socks.Want("jo", "other")
			return strings.Replace(text, "pass%20word", "other", 1)
		},
		"another name": func(_ *world, text string) string {
			return strings.Replace(strings.Replace(text, "  out:", "  fresh:", 1), "channel: out", "channel: fresh", 1)
		},
		"another channel underneath": func(w *world, text string) string {
			below := w.upstream(belowName, belowAddr)
			return strings.Replace(text, "["+below+"]", "["+below+"], timeout: 4s", 1)
		},
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, bySOCKS, dot, func(w *world) {
				w.ready(w.text())
				w.reaches(target, "origin")
				w.reaches(target, "origin")
				if w.asked() != 1 {
					w.t.Fatalf("asked %d times before the change", w.asked())
				}
				w.ready(change(w, w.text()))
				w.reaches(target, "origin")
				if w.asked() != 2 {
					w.t.Errorf("asked %d times: the answer of one channel was used in another", w.asked())
				}
			})
		})
	}
}

func TestAChannelUnderneathThatStays_isKept_whereTheOneAboveChanges(t *testing.T) {
	inWorld(t, bySOCKS, dot, func(w *world) {
		w.ready(w.text())
		direct := w.g.channels[0]
		w.ready(w.text("timeout: 4s"))
		if w.g.channels[0] != direct {
			w.t.Error("`direct` was opened anew")
		}
		w.reaches(target, "origin")
	})
}

func TestARequestInFlight_isDecidedByTheGenerationItWasGiven(t *testing.T) {
	inWorld(t, bySOCKS, dot, func(w *world) {
		w.ready(w.text())
		release := make(chan struct{})
		w.own.Fail(answers(func(h dnstest.Handler) dnstest.Handler { return dnstest.Held(h, release) }))

		var board switchboard
		board.swap(w.g)
		old := w.g
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := board.Dial(w.t.Context(), request(target))
			if err != nil {
				w.t.Errorf("the request of the old generation: %v", err)
				return
			}
			defer conn.Close()
			w.talks(conn, "origin")
		}()
		synctest.Wait() // the request waits for its answer

		w.extra = "routes: [{to: nowhere.example.com, channel: out}, {to: \"*\", channel: refuse}]\n"
		next, err := build(w.parse(w.text("timeout: 4s")), w.shared(), old)
		if err != nil {
			w.t.Fatal(err)
		}
		next.start(context.Background())
		board.swap(next)
		w.g = next
		retired := make(chan struct{})
		go func() {
			defer close(retired)
			old.inFlight.Wait()
			old.discard(next)
		}()
		_, err = board.Dial(w.t.Context(), request(target))
		w.isFault(err, target, fault.PolicyRoute, "refuses") // by the new one, at once
		select {
		case <-retired:
			w.t.Error("the old generation was closed under its request")
		case <-time.After(time.Second):
		}
		close(release)
		<-done
		<-retired
		if _, err := old.table.Dial(w.t.Context(), request("four."+canary+".example.com:443")); err == nil {
			w.t.Error("a channel that was closed still dials by name")
		}
	})
}

func TestATunnel_outlivesItsGeneration(t *testing.T) {
	for _, v := range ways {
		t.Run(string(v), func(t *testing.T) {
			inWorld(t, v, dot, func(w *world) {
				w.ready(w.text())
				conn, err := w.dial(target)
				if err != nil {
					w.t.Fatal(err)
				}
				defer conn.Close()
				w.ready(w.text("timeout: 4s"))
				w.ready(w.text("timeout: 3s"))
				time.Sleep(time.Hour)
				w.talks(conn, "origin")
			})
		})
	}
}

func TestAConfigurationThatCannotBeBuilt_leavesTheOneBeforeAsItIs(t *testing.T) {
	inWorld(t, byChain, dot, func(w *world) {
		w.ready(w.text())
		w.reaches(target, "origin")
		for what, spoil := range map[string]func(*config.Config){
			"a circle":              func(c *config.Config) { c.Channels[0].Over = "out" },
			"a channel over none":   func(c *config.Config) { c.Channels[1].Over = "none" },
			"a route to nowhere":    func(c *config.Config) { c.Routes[0].Channel = "none" },
			"no upstream":           func(c *config.Config) { c.Channels[1].Resolver.Upstreams = nil },
			"a policy of no mode":   func(c *config.Config) { c.Policy.PlainHTTP = "perhaps" },
			"a channel of no name":  func(c *config.Config) { c.Channels[1].Name = "" },
			"an exit without proxy": func(c *config.Config) { c.Channels[1].ResolveAtExit, c.Channels[1].Proxies = true, nil },
		} {
			c := w.parse(w.text("timeout: 4s"))
			spoil(c)
			if g, err := build(c, w.shared(), w.g); err == nil {
				g.discard(w.g)
				w.t.Errorf("%s was built", what)
			}
		}
		w.reaches(target, "origin")
		if w.asked() != 1 {
			w.t.Errorf("asked %d times: the cache was lost", w.asked())
		}
	})
}

func TestANewChannelUnderAnOldName_isNotReadyBecauseTheOldOneWas(t *testing.T) {
	inWorld(t, straight, dot, func(w *world) {
		w.ready(w.text())
		w.run(w.mispinned())
		if ok, why := w.g.ready(); ok || len(why) != 1 || !strings.Contains(why[0], "direct") {
			w.t.Errorf("ready: %v, %q", ok, why)
		}
		w.fails(target, fault.NotReady, "")
	})
}
