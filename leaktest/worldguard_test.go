package leaktest

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"watertight/dnswire"
)

// Guard gives the guard of the world.
func (w *world) Guard(context.Context) (Guard, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.guardErr != nil {
		return Guard{Written: w.guard.Written}, w.guardErr
	}
	g := w.guard
	if w.guardAfter != nil && w.guardAsked {
		g = *w.guardAfter
		g.Refused = w.guard.Refused
	}
	w.guardAsked = true
	return g, nil
}

// Stray lets everything be refused and counted, but for what the world lets pass.
func (w *world) Stray(_ context.Context, all []Stray) (came []Strayed, err error) {
	for _, s := range all {
		c, counted := w.strayed(s)
		came = append(came, c)
		w.mu.Lock()
		if to := map[counter]*uint64{dns: &w.guard.Refused.DNS, dot: &w.guard.Refused.DoT, raw: &w.guard.Refused.Raw, other: &w.guard.Refused.Other}[s.counter()]; counted {
			*to++
		}
		w.mu.Unlock()
		if c.Result == StraySent && !counted && s.To.Port() == 53 {
			w.note(s.Host, dnswire.A, home)
		}
	}
	return came, nil
}

// lets lets pass what strays of one kind to one port; 0: to any.
func lets(kind StrayKind, port uint16, came Strayed, counted bool) func(w *world) {
	return func(w *world) {
		w.strayed = func(s Stray) (Strayed, bool) {
			if s.Kind == kind && (port == 0 || s.To.Port() == port) {
				return came, counted
			}
			return Strayed{StrayRefused, "EPERM"}, true
		}
	}
}

// answers has another than the canary answer what strays to port 53, who is asked by somebody.
func answers(by netip.Addr) func(w *world) {
	return func(w *world) {
		w.strayed = func(s Stray) (Strayed, bool) {
			if s.Kind == StrayDatagram && s.To.Port() == 53 {
				w.note(s.Host, dnswire.A, by)
				return Strayed{StrayElsewhere, "64 octets"}, false
			}
			return Strayed{StrayRefused, "EPERM"}, true
		}
	}
}

func changedGuard(change func(g *Guard)) func(w *world) { return func(w *world) { change(&w.guard) } }

// leakyGuards are hosts whose guard lets something through.
func leakyGuards() []seeded {
	return []seeded{
		{name: "the guard was flushed", id: "GUARD-HELD", cause: "G12", says: "is gone", seed: changedGuard(func(g *Guard) { g.Held, g.Why = false, "table inet watertight_guard is gone" })},
		{name: "a rule was added to the guard", id: "GUARD-HELD", cause: "G12", says: "table inet watertight_guard was changed", seed: changedGuard(func(g *Guard) { g.Held, g.Why = false, "table inet watertight_guard was changed" })},
		{
			name: "the guard was flushed while the test ran", id: "GUARD-HELD", cause: "G12", says: "is gone",
			seed: func(w *world) {
				w.guardAfter = &Guard{Written: true, Armed: true, Why: "table netdev watertight_guard is gone"}
			},
		},
		{
			name: "the guard was put back while the test ran", id: "GUARD-HELD", cause: "G12", says: "has been put back since",
			seed: func(w *world) { held := w.guard; w.guardAfter, w.guard.Held = &held, false },
		},
		{name: "the guard lets questions in clear pass", id: "GUARD-REFUSES", cause: "G6", says: "a datagram to 203.0.113.20:53", seed: lets(StrayDatagram, 53, Strayed{StraySent, ""}, false)},
		{name: "the guard lets DNS over QUIC pass", id: "GUARD-REFUSES", cause: "G6", says: "a datagram to [2001:db8:20::20]:853", seed: lets(StrayDatagram, 853, Strayed{StraySent, ""}, false)},
		{name: "the guard lets connections pass", id: "GUARD-REFUSES", cause: "G6", says: "a connection to 203.0.113.20:80", seed: lets(StrayConnect, 80, Strayed{StrayAnswered, "connected"}, false)},
		{name: "the guard lets a flow pass that is older", id: "GUARD-REFUSES", cause: "G6", says: "older than the guard", seed: lets(StrayFlow, 0, Strayed{StrayAnswered, "3 octets"}, true)},
		{name: "the guard lets packets of AF_PACKET pass", id: "GUARD-REFUSES", cause: "G5", says: "handed to eth0", seed: lets(StrayFrame, 0, Strayed{StraySent, ""}, false)},
		{name: "the guard lets questions pass, and another answers them in the canary's place", id: "GUARD-REFUSES", cause: "G6", says: "203.0.113.99", seed: answers(stranger)},
		{
			name: "a packet that the guard was to refuse is seen on its way out", id: "PACKETS", cause: "G6", says: "the guard was to refuse it",
			seed: strayIsSeen("eth0", home, canary4),
		},
	}
}

// strayIsSeen lets a packet with the name of a stray be seen.
func strayIsSeen(device string, from, to netip.Addr) func(w *world) {
	return func(w *world) {
		w.seen = sighting(Sighting{What: "label", Form: "wire"})
		s := &w.seen.Sightings[0]
		s.Interface, s.From, s.To = device, netip.AddrPortFrom(from, 4000), netip.AddrPortFrom(to, 53)
		w.strayed = func(one Stray) (Strayed, bool) {
			if one.Kind == StrayDatagram {
				s.Label, _, _ = strings.Cut(one.Host, ".")
			}
			return Strayed{StrayRefused, "EPERM"}, true
		}
	}
}

// sealedGuards are hosts that look as if their guard let something through, or that have none.
func sealedGuards() []seeded {
	return []seeded{
		{name: "the configuration has no guard", seed: func(w *world) { w.guard = Guard{} }},
		{name: "a guard is on, and the configuration has none", seed: changedGuard(func(g *Guard) { g.Written = false })},
		{name: "the canary is in a network that every program may reach", seed: changedGuard(func(g *Guard) { g.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} })},
		{name: "the firewall hands over to the program what others send", seed: changedGuard(func(g *Guard) { g.HandedOver = true })},
		{name: "this host has no IPv6", seed: func(w *world) {
			w.strayed = func(s Stray) (Strayed, bool) {
				if s.To.Addr().Is6() {
					return Strayed{StrayNoWay, "ENETUNREACH"}, false
				}
				return Strayed{StrayRefused, "EPERM"}, true
			}
		}},
		{name: "the firewall hands questions over to the DNS door, before they come to the guard", seed: answers(nearby)},
		{name: "no program may send packets past the firewall", seed: lets(StrayFrame, 0, Strayed{StrayUnable, "EPERM"}, false)},
		{name: "what was refused is told to the program that sent it", seed: strayIsSeen("lo", home, home)},
		{name: "the guard refuses what the host's resolver asks", seed: func(w *world) { w.control, w.guardsHost = false, true }},
		{name: "the kernel drops connections and says nothing", seed: lets(StrayConnect, 0, Strayed{StraySilent, ""}, true)},
	}
}

// doubtfulGuards are hosts of whose guard nothing is shown.
func doubtfulGuards() []seeded {
	return []seeded{
		{name: "the guard may not be read back", id: "GUARD-HELD", says: "cannot be read back", seed: func(w *world) { w.guardErr = errors.New("it takes CAP_NET_ADMIN") }},
		{name: "the guard is off", id: "GUARD-HELD", says: "the guard is off", seed: changedGuard(func(g *Guard) { g.Armed, g.Held = false, false })},
		{name: "nobody knows what the guard should be", id: "GUARD-HELD", says: "which says what should be in them", seed: changedGuard(func(g *Guard) {
			g.Armed, g.Held, g.Why = false, false, "the file is gone, which says what should be in them"
		})},
		{name: "something else refuses", id: "GUARD-REFUSES", says: "the guard has not counted it", seed: lets(StrayConnect, 80, Strayed{StrayRefused, "ECONNREFUSED"}, false)},
		{name: "others are refused at the same time", id: "GUARD-REFUSES", says: "is not known", seed: lets(StrayDatagram, 53, Strayed{StraySent, ""}, true)},
	}
}
