package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"watertight/dnswire"
)

// pipes is a ground on which every address is connected.
type pipes struct{ far []net.Conn }

func (p *pipes) DialAddr(context.Context, netip.AddrPort) (net.Conn, error) {
	near, far := net.Pipe()
	p.far = append(p.far, far)
	return near, nil
}

func TestAGroundThatIsTakenAwayCarriesNothingMore(t *testing.T) {
	one, two := netip.MustParseAddrPort("192.0.2.1:853"), netip.MustParseAddrPort("192.0.2.2:853")
	for _, silent := range []bool{false, true} {
		below := &pipes{}
		g := newCutGround(below)
		conn, err := g.on().DialAddr(t.Context(), one)
		if err != nil {
			t.Fatal(err)
		}
		g.take(silent)
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("what was connected is read from")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err = g.on().DialAddr(ctx, two)
		cancel()
		if want := map[bool]error{false: syscall.ECONNREFUSED, true: context.DeadlineExceeded}[silent]; !errors.Is(err, want) {
			t.Errorf("silent %t: a connection ends with %v, want %v", silent, err, want)
		}
		if len(below.far) != 1 {
			t.Errorf("the ground below was asked for %d connections", len(below.far))
		}
		if len(g.before) != 1 || g.before[0] != one || len(g.after) != 1 || g.after[0] != (attempt{to: two}) {
			t.Errorf("it remembers %v before and %v after", g.before, g.after)
		}
	}
}

// A hop or a resolver that has a name may have many addresses, and a copy that has lost one tries the next: that is as configured.
func TestACopyTriesEveryAddressOfItsHopAndThatIsAsConfigured(t *testing.T) {
	for _, how := range []manner{{}, {resolver: true}} {
		synctestWorld(t, bySOCKS, dot, func(w *world) {
			second, third := netip.MustParseAddr("146.1.0.9"), netip.MustParseAddr("185.11.0.59")
			w.below.Fail(always(zoneOf(append(slices.Clone(records), hop1Name+". 600 A "+second.String(),
				ownName+". 600 A "+ownAddr.String(), ownName+". 600 A "+third.String())...)))
			c, err := openCopy(w.t.Context(), w.parse(w.named()), w.shared(), "out", how)
			if err != nil || c.Ready() != nil {
				w.t.Fatal(err, c.Ready())
			}
			defer c.Close()
			c.Cut(false)
			if _, _, err := c.Exchange(w.t.Context(), dnswire.Question{Name: hostName, Type: dnswire.A}); err == nil {
				w.t.Error("it answers")
			}
			if _, err := c.Connect(w.t.Context(), hostName, 443); err == nil {
				w.t.Error("it connects")
			}
			tried := c.Tried()
			for _, a := range tried {
				if !a.Named {
					w.t.Errorf("%+v: it wanted to reach %s, and that is not said to be configured", how, a.To)
				}
			}
			if len(tried) < 2 {
				w.t.Errorf("%+v: it tried %v alone, so that this proves nothing", how, tried)
			}
		})
	}
}

// What was connected to before on the port of a hop that has a name may be that hop only where nothing could be known of its addresses.
func TestACopyTakesNothingElseForItsHopThatHasAName(t *testing.T) {
	for ttl, known := range map[string]bool{"600": true, "1": true, "0": false} {
		synctestWorld(t, bySOCKS, dot, func(w *world) {
			zone := slices.Clone(records)
			for i, r := range zone {
				zone[i] = strings.Replace(r, hop1Name+". 60 ", hop1Name+". "+ttl+" ", 1)
			}
			w.below.Fail(always(zoneOf(append(zone, ownName+". 600 A "+ownAddr.String())...)))
			c, err := openCopy(w.t.Context(), w.parse(w.named()), w.shared(), "out", manner{})
			if err != nil || c.Ready() != nil {
				w.t.Fatal(err, c.Ready())
			}
			defer c.Close()
			time.Sleep(time.Minute) // nothing of a second is kept by now
			leaky := netip.AddrPortFrom(originAt.Addr(), socksAt.Port())
			c.mortal.before = append(c.mortal.before, leaky) // as if it had gone there by itself before
			c.Cut(false)
			for _, to := range []netip.AddrPort{leaky, socksAt} {
				_, _ = c.mortal.dial(w.t.Context(), attempt{to: to}, nil)
			}
			for _, a := range c.Tried() {
				if may := a.To != leaky || !known; a.Named != may {
					w.t.Errorf("records for %s s: %s is said to be configured: %t", ttl, a.To, a.Named)
				}
			}
		})
	}
}

// A resolver behind hops is as configured for them alone: a copy that reached it by itself, now or before, would leak.
func TestWhatACopyMayReachByItselfEndsAtItsFirstHop(t *testing.T) {
	for _, v := range ways {
		for _, how := range []manner{{}, {resolver: true}} {
			synctestWorld(t, v, dot, func(w *world) {
				of := map[bool]string{true: "direct", false: "out"}[v == straight]
				c, err := openCopy(w.t.Context(), w.parse(w.text()), w.shared(), of, how)
				if err != nil || c.Ready() != nil {
					w.t.Fatal(err, c.Ready())
				}
				defer c.Close()
				c.Cut(false)
				below, own := netip.AddrPortFrom(belowAddr, w.kind.port()), netip.AddrPortFrom(w.own.Addr, w.kind.port())
				first := map[way]netip.AddrPort{straight: below, bySOCKS: socksAt, byCONNECT: connectAt, byChain: socksAt}[v]
				for _, to := range []netip.AddrPort{below, own, first, connectAt, originAt} {
					c.mortal.before = append(c.mortal.before, to) // as if it had
					_, _ = c.mortal.dial(w.t.Context(), attempt{to: to}, nil)
				}
				for _, a := range c.Tried() {
					may := a.To == below || a.To == first
					if how.resolver {
						may = a.To == own
					}
					if a.Named != may {
						w.t.Errorf("%s, %+v: %s is said to be configured: %t", v, how, a.To, a.Named)
					}
				}
			})
		}
	}
}

// In every window a copy reaches what it may and nobody else, and what is closed or was never there answers nothing.
func TestACopyGoesThroughTheWindowsInTimeOverEveryWay(t *testing.T) {
	for _, v := range ways {
		inWorld(t, v, dot, func(w *world) {
			of := map[bool]string{true: "direct", false: "out"}[v == straight]
			q := dnswire.Question{Name: hostName, Type: dnswire.A}
			opened := func(how manner) *copied {
				c, err := openCopy(w.t.Context(), w.parse(w.text()), w.shared(), of, how)
				if err != nil || !how.unready && c.Ready() != nil {
					w.t.Fatal(err)
				}
				return c
			}
			asks := func(c *copied, window string, answers bool) {
				_, _, err := c.Exchange(w.t.Context(), q)
				if (err == nil) != answers {
					w.t.Errorf("%s, %s: it answers: %t (%v)", v, window, err == nil, err)
				}
				for _, a := range c.Tried() {
					if !a.Named {
						w.t.Errorf("%s, %s: it wanted to reach %s", v, window, a.To)
					}
				}
			}
			c := opened(manner{})
			asks(c, "before anything", true)
			if tried := c.Tried(); len(tried) > 0 {
				w.t.Errorf("%s: nothing was done to it, and it tells of %v", v, tried)
			}
			c.Changed()
			asks(c, "in another network", true)
			if len(c.Tried()) == 0 {
				w.t.Errorf("%s: in another network it connects to nobody", v)
			}
			c.Cut(false)
			c.Changed() // or its cache would answer
			asks(c, "cut off", false)
			c.Restore()
			time.Sleep(time.Minute)
			asks(c, "back", true)
			c.Retire()
			asks(c, "closed", false)
			c.Close()
			c = opened(manner{unready: true, silent: true})
			asks(c, "not ready", false)
			c.Close()
		})
	}
}
