package leaktest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/visit"
)

// rules are those of a world's firewall, which hands over what programs send.
type rules struct {
	past     func(network string, to netip.AddrPort) bool  // it leaves, past the listeners
	shut     func(network string, to netip.AddrPort) error // it does not leave, and is not handed over
	here     bool                                          // the canary is on this host
	full     bool                                          // a listener ends what it gets
	slow     bool                                          // a listener does not take what comes to it
	carries  bool                                          // what was given out to nobody is carried
	elsewise string                                        // the channel that is taken instead; empty: the name's
	leads    netip.Addr                                    // where the DNS door says that names lead over IPv4; not valid: to the canary

	given map[string]bool // names for which the address was given out
	taken map[net.Conn]Taken
	// sockets counts those of each network and family, which have ports of their own.
	sockets map[int]int
	said    []byte // past the listeners
}

// handsOver gives a world a transparent listener for each family, and the rules that lead to them.
func handsOver(change func(r *rules)) func(w *world) {
	return func(w *world) {
		w.rules = &rules{
			past: func(string, netip.AddrPort) bool { return false }, shut: func(string, netip.AddrPort) error { return nil },
			given: map[string]bool{}, taken: map[net.Conn]Taken{}, sockets: map[int]int{},
		}
		if change != nil {
			change(w.rules)
		}
		w.changeDoors = func(all []Door) []Door {
			for _, at := range []string{"127.0.0.1:8089", "[::1]:8089"} {
				all = append(all, Door{Kind: DoorTransparent, At: at, Address: netip.MustParseAddrPort(at), Packets: true})
			}
			return all
		}
	}
}

// past gives rules that miss something.
func past(what func(network string, to netip.AddrPort) bool) func(w *world) {
	return handsOver(func(r *rules) { r.past = what })
}

// gives gives the address of a name out, as a DNS door.
func (w *world) gives(q dnswire.Question) (reply dnswire.Reply) {
	_, branch, _, err := visit.Parse(q.Name, zone)
	if w.rules == nil || err != nil {
		return reply
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case q.Type == dnswire.A && branch != visit.V6 && w.rules.leads.IsValid():
		reply.Answer = append(reply.Answer, dnswire.AddrRecord(q.Name, 60, w.rules.leads))
	case q.Type == dnswire.A && branch != visit.V6:
		reply.Answer = append(reply.Answer, dnswire.AddrRecord(q.Name, 60, canary4))
	case q.Type == dnswire.AAAA && branch != visit.V4:
		reply.Answer = append(reply.Answer, dnswire.AddrRecord(q.Name, 60, canary6))
	default:
		return reply
	}
	w.rules.given[q.Name] = true
	return reply
}

// sent is a socket of a program of the world's host.
type sent struct {
	net.Conn
	at, to netip.AddrPort
}

func (s sent) LocalAddr() net.Addr  { return net.UDPAddrFromAddrPort(s.at) }
func (s sent) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(s.to) }

// Send is what a program sends that knows of no proxy.
func (w *world) Send(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	if to.Addr() != canary4 && to.Addr() != canary6 {
		w.t.Errorf("something is sent to %s, which is not the canary", to)
	}
	if err := w.rules.shut(network, to); err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := map[string]int{"tcp": 20000, "udp": 30000}[network] + map[bool]int{true: 1000}[to.Addr().Is6()]
	s := sent{near, netip.AddrPortFrom(home, uint16(kind+w.rules.sockets[kind])), to}
	w.rules.sockets[kind]++
	if w.rules.here {
		s.at = netip.AddrPortFrom(to.Addr(), s.at.Port())
	}
	w.rules.taken[near] = Taken{Held: network == "tcp" && to.Port() != 53}
	switch {
	case w.rules.past(network, to):
		w.rules.taken[near] = Taken{}
		go w.hear(far)
	case to.Port() == 53:
		go w.tookQuestions(far, near, network == "tcp")
	case network == "udp":
		go func() {
			defer far.Close()
			if _, err := far.Read(make([]byte, 2048)); err == nil {
				w.tookFrom(near, Taken{Door: event.DoorTransparentUDP, Channel: "out"})
			}
		}()
	case w.rules.slow:
		w.rules.taken[near] = Taken{}
		go w.hear(far)
	case w.rules.full:
		w.rules.taken[near] = Taken{}
		far.Close()
	default:
		go w.tookConn(ctx, far, near)
	}
	return s, nil
}

// hear hears what leaves.
func (w *world) hear(far net.Conn) {
	b, _ := io.ReadAll(far)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules.said = append(w.rules.said, b...)
}

func (w *world) tookFrom(near net.Conn, t Taken) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules.taken[near] = t
}

// Took tells what came of it.
func (w *world) Took(c net.Conn) Taken {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rules.taken[c.(sent).Conn]
}

// Here is so of what a listener does not take.
func (w *world) Here(c net.Conn) bool {
	s := c.(sent)
	return w.rules.slow && !w.rules.past("tcp", s.to)
}

// tookQuestions answers questions that were handed over.
func (w *world) tookQuestions(far, near net.Conn, overTCP bool) {
	defer far.Close()
	for {
		reply, ok := w.answerDNS(far, overTCP)
		w.tookFrom(near, Taken{Door: event.DoorDNS, Channel: "out"})
		if !ok {
			return
		}
		go func() { _, _ = far.Write(reply) }() // whoever asked need not read it
	}
}

// tookConn serves a connection that was handed over.
func (w *world) tookConn(ctx context.Context, far, near net.Conn) {
	defer far.Close()
	r := bufio.NewReader(far)
	request, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	w.mu.Lock()
	known := w.rules.given[request.Host] || w.rules.carries
	w.mu.Unlock()
	taken := Taken{Held: true, Door: event.DoorTransparent, Channel: "out"}
	if !known {
		taken.Code = fault.PolicyClientResolved
		w.tookFrom(near, taken)
		return
	}
	if w.rules.elsewise != "" {
		taken.Channel = w.rules.elsewise
	}
	server, err := way{w, "out", "transparent"}.Connect(ctx, request.Host, 80)
	if err != nil {
		taken.Code = fault.Of(err).Code
	}
	w.tookFrom(near, taken)
	if err != nil {
		return
	}
	fmt.Fprintf(server, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", request.Host)
	join(far, r, server)
}

// leakyHands are worlds whose firewall misses something of what it is to hand over.
func leakyHands() []seeded {
	v6 := func(_ string, to netip.AddrPort) bool { return to.Addr().Is6() }
	udp := func(network string, to netip.AddrPort) bool { return network == "udp" && to.Port() != 53 }
	return []seeded{
		{name: "the rules that hand over are gone", id: "HANDED-OVER", cause: "H2", says: "past the transparent listener", seed: past(func(string, netip.AddrPort) bool { return true })},
		{name: "the rules that hand over miss IPv6", id: "HANDED-OVER", cause: "D9", says: "IPv6: it went to the canary", seed: past(v6)},
		{name: "the rules that hand over miss datagrams", id: "HANDED-OVER", cause: "D1", says: "no transparent listener has it", seed: past(udp)},
		{name: "the rules that hand over miss questions over UDP", id: "HANDED-OVER", cause: "H2", says: "over UDP, IPv4: it left in clear", seed: past(func(network string, to netip.AddrPort) bool { return network == "udp" && to.Port() == 53 })},
		{name: "the rules that hand over miss questions over TCP", id: "HANDED-OVER", cause: "H2", says: "over TCP, IPv6: it left in clear", seed: past(func(network string, to netip.AddrPort) bool { return network == "tcp" && to.Port() == 53 })},
		{
			name: "datagrams are to be turned away, and leave", id: "HANDED-OVER", cause: "D1", says: "no transparent listener has it",
			seed: func(w *world) { past(udp)(w); noPackets(w) },
		},
		{
			name: "a name that is handed over leaves this host, too", id: "PACKETS", cause: "D4", says: "on eth0",
			seed: func(w *world) {
				handsOver(nil)(w)
				w.seen = Observed{Interfaces: []string{"eth0"}, Sightings: []Sighting{{
					Interface: "eth0", From: netip.AddrPortFrom(home, 20000), To: netip.AddrPortFrom(canary4, 443), What: "label", Form: "sni", Label: "aaaaaaaaaaaaaaaaaaaa", Proto: "tcp",
				}}}
			},
		},
		{name: "a name that has its address from elsewhere is carried", id: "HANDED-OVER", cause: "H1", says: "it was carried", seed: handsOver(func(r *rules) { r.carries = true })},
		{name: "what is handed over takes another channel", id: "HANDED-OVER", cause: "D5", says: "the channel direct, and not out", seed: handsOver(func(r *rules) { r.elsewise = "direct" })},
		{name: "what is handed over leaves past the hops", id: "HANDED-OVER", cause: "D5", says: "not through the hops of the channel out", seed: func(w *world) {
			handsOver(nil)(w)
			w.exitOf["out"] = home
		}},
		{name: "what is handed over is resolved by another, too", id: "HANDED-OVER", cause: "H2", says: "203.0.113.99", seed: func(w *world) {
			handsOver(nil)(w)
			w.also = by(func(_ visit.Branch, by string, _ dnswire.Type) bool { return by == "transparent" }, stranger)
		}},
	}
}

// noPackets has the listeners of a world take connections alone.
func noPackets(w *world) {
	before := w.changeDoors
	w.changeDoors = func(all []Door) []Door {
		all = before(all)
		for i := range all {
			all[i].Packets = false
		}
		return all
	}
}

// sealedHands are worlds whose firewall hands everything over, or has nothing to.
func sealedHands() []seeded {
	turned := handsOver(func(r *rules) {
		r.shut = func(network string, to netip.AddrPort) error {
			if network == "udp" && to.Port() != 53 {
				return syscall.EPERM
			}
			return nil
		}
	})
	return []seeded{
		{name: "the firewall hands over all that programs send", seed: handsOver(nil)},
		{name: "it turns datagrams away", seed: func(w *world) { turned(w); noPackets(w) }},
		{name: "it hands over, and the host has no IPv6", seed: handsOver(func(r *rules) {
			r.shut = func(_ string, to netip.AddrPort) error {
				if to.Addr().Is6() {
					return syscall.ENETUNREACH
				}
				return nil
			}
		})},
		{name: "it hands over, and clients may have addresses from elsewhere", seed: func(w *world) {
			handsOver(nil)(w)
			w.about.Policy.ClientResolved = "report"
		}},
		{name: "it hands over, and the test's own questions are seen", seed: func(w *world) {
			handsOver(nil)(w)
			w.seen = Observed{
				Interfaces: []string{"lo"}, Sockets: []string{"tcp 198.18.1.7:20000 > 203.0.113.20:53"},
				Sightings: []Sighting{{Interface: "lo", From: netip.AddrPortFrom(home, 30001), To: netip.AddrPortFrom(canary4, 53), What: "dns", Ours: true, Proto: "udp"}, {
					Interface: "lo", From: netip.AddrPortFrom(canary4, 443), To: netip.AddrPortFrom(home, 20001), What: "label", Form: "text", Label: "aaaaaaaaaaaaaaaaaaaa", Proto: "tcp",
				}},
			}
		}},
	}
}

// TestHandedOver_NothingIsSaidWhereNobodyHasIt: of a connection that is not handed over, the canary gets to know that somebody came.
func TestHandedOver_NothingIsSaidWhereNobodyHasIt(t *testing.T) {
	w := newWorld(t)
	past(func(string, netip.AddrPort) bool { return true })(w)
	c, _ := w.run(only("HANDED-OVER")).Find("HANDED-OVER")
	if c.Verdict != Leak || len(w.rules.taken) < 6 {
		t.Fatalf("it is %s, with %d sockets", c.Verdict, len(w.rules.taken))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	said := string(w.rules.said)
	if strings.Contains(said, "HTTP") || strings.Contains(said, "canary") || !strings.Contains(said, "localhost") {
		t.Errorf("what left says %q", said)
	}
}

// TestHandedOver_WhereTheCanaryIsOnThisHostNothingIsShown: what is sent there does not leave, and is handed over to nobody.
func TestHandedOver_WhereTheCanaryIsOnThisHostNothingIsShown(t *testing.T) {
	w := newWorld(t)
	handsOver(func(r *rules) { r.here, r.past = true, func(string, netip.AddrPort) bool { return true } })(w)
	r := w.run()
	if c, _ := r.Find("HANDED-OVER"); r.Verdict != Inconclusive || c.Verdict != Skipped || !c.Needed || !strings.Contains(c.Reason, "the canary is on this host") {
		t.Errorf("the run is %s, and it is %s, needed: %v: %s", r.Verdict, c.Verdict, c.Needed, c.Reason)
	}
}

// TestHandedOver_NothingIsSentToWhoIsNotTheCanary, whatever a resolver says: the world fails where something is.
func TestHandedOver_NothingIsSentToWhoIsNotTheCanary(t *testing.T) {
	w := newWorld(t)
	handsOver(func(r *rules) { r.leads = netip.MustParseAddr("203.0.113.77") })(w)
	c, _ := w.run(only("HANDED-OVER")).Find("HANDED-OVER")
	if c.Verdict != Inconclusive || !strings.Contains(c.Reason, "leads to 203.0.113.77") {
		t.Errorf("it is %s: %s\n%s", c.Verdict, c.Reason, strings.Join(c.Evidence, "\n"))
	}
}

// TestHandedOver_WhatIsNeitherHandedOverNorSentShowsNothing.
func TestHandedOver_WhatIsNeitherHandedOverNorSentShowsNothing(t *testing.T) {
	w := newWorld(t)
	handsOver(func(r *rules) { r.shut = func(string, netip.AddrPort) error { return syscall.ECONNREFUSED } })(w)
	if c, _ := w.run(only("HANDED-OVER")).Find("HANDED-OVER"); c.Verdict != Inconclusive || !c.Needed || c.Fix != fixRules {
		t.Errorf("it is %s, needed: %v: %s; %s", c.Verdict, c.Needed, c.Reason, c.Fix)
	}
}

// TestHandedOver_WhatIsEndedAtOnceIsNoLeak: a listener that is full does that.
func TestHandedOver_WhatIsEndedAtOnceIsNoLeak(t *testing.T) {
	w := newWorld(t)
	handsOver(func(r *rules) { r.full = true })(w)
	c, _ := w.run(only("HANDED-OVER")).Find("HANDED-OVER")
	if c.Verdict != Inconclusive || !strings.Contains(c.Reason, "has ended it at once") {
		t.Errorf("it is %s: %s", c.Verdict, c.Reason)
	}
}

// TestHandedOver_WhatNobodyTakesAtThisHostIsNoLeak: a host may be busy, or another program's rules come first.
func TestHandedOver_WhatNobodyTakesAtThisHostIsNoLeak(t *testing.T) {
	w := newWorld(t)
	handsOver(func(r *rules) { r.slow = true })(w)
	c, _ := w.run(only("HANDED-OVER")).Find("HANDED-OVER")
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Verdict != Inconclusive || !strings.Contains(c.Reason, "is led to this host") || strings.Contains(string(w.rules.said), "HTTP") {
		t.Errorf("it is %s: %s; %q", c.Verdict, c.Reason, w.rules.said)
	}
}

func only(id string) func(o *Options) { return func(o *Options) { o.Only = []string{id} } }
