package cells

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab"
	"watertight/lab/internet"
)

// TestEveryDoorOverEveryWay lets clients in by every door, over every way out: while all is well, where nobody listens at
// the destination, and with the way gone. All of it in one capture for each way: nothing leaves but by the way, whatever
// the door.
func TestEveryDoorOverEveryWay(t *testing.T) {
	lab.Need(t, "curl", "dig", "nghttpx", "nft", "ip")
	lab.NeedPython(t, python3, "socks", "h2")
	t.Parallel()
	type turn struct {
		way
		families internet.Families
	}
	var turns []turn
	for _, w := range ways() {
		for _, families := range append([]internet.Families{internet.Dual}, w.families...) {
			turns = append(turns, turn{w, families})
		}
	}
	var next atomic.Int32
	var atATime sync.WaitGroup
	for range 2 { // each keeps a processor busy
		atATime.Go(func() {
			for i := next.Add(1); int(i) <= len(turns); i = next.Add(1) {
				w := turns[i-1]
				t.Run(w.name+"/"+string(w.families), func(t *testing.T) { w.everyDoor(t, w.families) })
			}
		})
	}
	atATime.Wait()
}

// everyDoor plays one way. With both families all is played; with one, what is carried.
func (w way) everyDoor(t *testing.T, families internet.Families) {
	g := w.open()
	e := run(t, lab.Cell{
		Families: families,
		Arrange: func(t testing.TB, s *lab.Scene) {
			echoes(t, s)
			g.arrange(t, s)
			nobody := lab.Must(s.AddHost("empty"))(t)
			for _, e := range entrances() {
				lab.Must(0, s.Authority.Publish(e.name+"-nobody-"+s.Canary, nobody))(t)
			}
			if w.name == "direct" {
				s.Permitted = append(s.Permitted, nobody.Peers(capture.TCP, 443)...)
				s.Permitted = append(s.Permitted, nobody.Peers(capture.TCP, 80)...)
			}
		},
		Start: func(t testing.TB, s *lab.Scene) string {
			return new(running).with(func(s *lab.Scene) string { return allDoors(t, s, g.channels(s)) })(t, s)
		},
		After: func(_ testing.TB, s *lab.Scene) {
			besideTheDoors(t, s)
			doors, handed := entrances(), []entrance(nil)
			for i, e := range doors {
				if e.transparent {
					doors, handed = doors[:i:i], doors[i:]
					break
				}
			}
			w.carried(t, s, g, doors)
			if families == internet.Dual {
				w.nobodyThere(t, s, doors)
				if !w.exit {
					keptApartAtTheDoors(t, s, g)
				}
			}
			arm(t, s, "tproxy", firewalls(t)["tproxy"])
			w.carried(t, s, g, handed)
			if families != internet.Dual {
				return
			}
			w.nobodyThere(t, s, handed)
			disarm(t, s) // so that the doors' own packets, if one of them goes astray, are not handed back to the program
			if !w.exit {
				lab.Settle(t, s)
			}
			g.die(t, s)
			w.gone(t, s, doors)
			arm(t, s, "tproxy", firewalls(t)["tproxy"])
			w.gone(t, s, handed)
		},
	})
	if !w.sealed {
		return
	}
	for _, hit := range capture.Search(e.Packets, lab.Zone) {
		t.Errorf("LEAK: a name, as %s, can be read before the first hop, in %v", hit.Form, hit.Packet)
	}
}

// carried lets a client in by each door, and fails the test unless each was served and its name was asked of the channel's
// resolver. What the way cannot carry has to be refused.
func (w way) carried(t *testing.T, s *lab.Scene, g ground, doors []entrance) {
	w.each(t, s, doors, "served", func(t *testing.T, e entrance, host string, r internet.Result) {
		resolver := g.resolves(s)
		if refused := w.refuses(e); refused {
			w.mustRefuse(t, s, e, host, r, "")
			if resolver != nil && asked(resolver, host) > 0 && !e.transparent { // its client asks first, and sends then
				t.Errorf("%s: the name was asked for, for what is not carried", e.name)
			}
		} else if r.Code != 0 || !strings.Contains(r.Stdout, e.wants(s, host)) {
			t.Errorf("%s: not served (exit code %d): %s", e.name, r.Code, r.Text())
		} else if resolver != nil && asked(resolver, host) == 0 {
			t.Errorf("%s: the channel's resolver was not asked for %s", e.name, host)
		} else if resolver == nil && !g.(*chain).named(host) {
			t.Errorf("%s: the exit was not given the name", e.name)
		}
		if resolver != s.Resolver && asked(s.Resolver, host) > 0 {
			t.Errorf("%s: the channel underneath was asked for %s", e.name, host)
		}
	})
}

// refuses says whether what comes in by a door is not carried by the way. An exit that resolves tells no addresses.
func (w way) refuses(e entrance) bool {
	return e.packets && !w.datagrams || w.exit && (e.answers || e.transparent)
}

// nobodyThere: where nobody listens at the destination, each client is told so, and success never.
func (w way) nobodyThere(t *testing.T, s *lab.Scene, doors []entrance) {
	connecting := slices.DeleteFunc(slices.Clone(doors), func(e entrance) bool { return e.packets || e.answers || w.refuses(e) })
	w.each(t, s, connecting, "nobody", func(t *testing.T, e entrance, host string, r internet.Result) {
		w.mustRefuse(t, s, e, host, r, w.nobody)
	})
}

// gone: with the way gone, each client is told so, and nothing arrives.
func (w way) gone(t *testing.T, s *lab.Scene, doors []entrance) {
	if w.exit {
		doors = slices.DeleteFunc(slices.Clone(doors), w.refuses)
	}
	w.each(t, s, doors, "gone", func(t *testing.T, e entrance, host string, r internet.Result) { w.mustRefuse(t, s, e, host, r, w.dead) })
}

var success = regexp.MustCompile(`(?m)^< HTTP/[0-9.]+ 200|^200 |^status 200|Connection established`)

// mustRefuse fails the test unless the client was refused, with the code if there is one, and was not told of success first.
func (w way) mustRefuse(t *testing.T, s *lab.Scene, e entrance, host string, r internet.Result, code fault.Code) {
	t.Helper()
	if strings.Contains(r.Stdout, e.wants(s, host)) || !e.packets && !e.answers && r.Code == 0 {
		t.Errorf("%s: not refused: %s", e.name, r.Text())
	}
	if code != "" && !strings.Contains(r.Text(), strings.ReplaceAll(e.says(code), "%s", host)) {
		t.Errorf("%s: not told %q but (exit code %d): %s", e.name, e.says(code), r.Code, r.Text())
	}
	if m := success.FindString(r.Text()); m != "" {
		t.Errorf("%s: told %q before it was refused: %s", e.name, m, r.Text())
	}
	for _, v := range s.Origin.Visits() {
		if v.Host == host {
			t.Errorf("%s: the origin was reached", e.name)
		}
	}
}

// each lets a client in by each door, all at once, each for a name of its own.
func (w way) each(t *testing.T, s *lab.Scene, doors []entrance, phase string, check func(t *testing.T, e entrance, host string, r internet.Result)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	hosts, results := make([]string, len(doors)), make([]internet.Result, len(doors))
	var wg sync.WaitGroup
	for i, e := range doors {
		hosts[i] = e.name + "-" + phase + "-" + s.Canary
		program := e.call(s, hosts[i])
		if phase != "served" || !w.datagrams {
			hasty(program)
		}
		wg.Go(func() { results[i] = program.Run(ctx) })
	}
	wg.Wait()
	for i, e := range doors {
		t.Run(phase+"/"+e.name, func(t *testing.T) {
			if results[i].Err != nil {
				t.Fatal(results[i].Err)
			}
			check(t, e, hosts[i], results[i])
		})
	}
}

// keptApartAtTheDoors lets four identities come in by four doors for one name, twice: each asks once, for itself, over a
// connection of its own.
func keptApartAtTheDoors(t *testing.T, s *lab.Scene, g ground) {
	t.Helper()
	host := "shared-" + s.Canary
	url := "https://" + host + "/"
	for range 2 {
		for _, p := range []*internet.Program{
			through(s, "http://dave:x@"+lab.ProxyAddress, host),
			through(s, "socks5h://erin:x@"+lab.ProxyAddress, host),
			through(s, fmt.Sprintf("https://alice:s3cret@127.0.0.1:%d", securePort), host),
			s.Client.Program("curl", "--silent", "--show-error", "--max-time", "15", "http://"+gatewayAddress+"/https/"+strings.TrimPrefix(url, "https://")),
		} {
			greeted(t, host, lab.Run(t, p))
		}
	}
	conns, questions := map[int]bool{}, 0
	for _, q := range g.resolves(s).Log() {
		if q.Name == host && q.Type == dnswire.A {
			conns[q.Conn], questions = true, questions+1
		}
		if q.Resumed {
			t.Errorf("a session was resumed across identities: %+v", q.Question)
		}
	}
	if questions != 4 || len(conns) != 4 {
		t.Errorf("F1 F6: four identities asked %d times, over %d connections", questions, len(conns))
	}
}

// disarm takes the rules of the firewall away.
func disarm(t testing.TB, s *lab.Scene) {
	t.Helper()
	succeeds(t, s.Client.Program("nft", "delete", "table", "inet", "watertight"))
	for _, family := range []string{"-4", "-6"} {
		succeeds(t, s.Client.Program("ip", family, "rule", "del", "fwmark", "1", "lookup", "100"))
		succeeds(t, s.Client.Program("ip", family, "route", "flush", "table", "100"))
	}
}
