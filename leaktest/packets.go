package leaktest

import (
	"context"
	"fmt"
	"slices"
)

const fixPackets = "give the program the right to read packets, as root or by `setcap cap_net_raw+p` on it, and run the test again"

// tryPackets looks for labels in all that left the host, and for questions of this program in clear.
func tryPackets(_ context.Context, r *run, f *findings) {
	if r.unseen != "" {
		f.skip("packets were not read: %s", r.unseen)
		return
	}
	if r.observed.Blind != "" {
		f.doubt(fixPackets, "%s", r.observed.Blind)
	}
	if len(r.observed.Interfaces) == 0 {
		f.doubt(fixPackets, "the packets of no interface were read")
	}
	for _, s := range r.observed.Sightings {
		r.judgePacket(s, f)
	}
	if r.observed.More != "" {
		f.note("%s", r.observed.More)
	}
	f.held("the packets of %d interfaces were searched for %d labels", len(r.observed.Interfaces), len(r.live()))
}

// judgePacket says whether a packet is a leak. What has a label of the positive control is meant to be seen.
func (r *run) judgePacket(s Sighting, f *findings) {
	way := fmt.Sprintf("%s from %s to %s on %s", s.Proto, s.From, s.To, s.Interface)
	if s.Process != "" {
		way += ", by " + s.Process
	}
	told, perhaps := r.toldTheName(s)
	own, isOwn := r.ownName(s)
	shown, maybe := r.shownToCanary(s)
	stray, isStray := r.strayed(s)
	switch {
	case isOwn && s.Ours:
		f.leak(own.Cause, "", "this program asked for %s (%s) in clear: %s", own.Host, own.Of, way)
	case isOwn && s.Process == "":
		f.doubt("run the test as root, which sees whose packets they are; or find out which program of this host asks for that name",
			"%s (%s) was asked for in clear: %s, and whose question that was is not known", own.Host, own.Of, way)
	case isOwn:
		f.note("%s (%s) was asked for in clear: %s; whether that was for this program, its traps say (TRAP)", own.Host, own.Of, way)
	case s.Label != "" && s.Label == r.control.label, r.outside.sent(s):
		return
	case isStray && (ofThisHost(s) || told): // a question that was handed over may be given to a hop
		return
	case isStray:
		f.leak(stray.cause(), fixGuardChanged, "%s left this host, and the guard was to refuse it: %s", stray.inWords(), way)
	case r.named(s): // it is judged by its name
	case shown:
		f.held("the canary was shown a name in a handshake, as by every client of https://: %s", way)
	case maybe:
		f.doubt("write the hop's address in place of its name", "a name was shown in a handshake, and whether that went to the first hop is not known: %s", way)
	case told:
		f.held("a hop that resolves was given a name, as configured: %s", way)
	case perhaps:
		f.doubt("write the hop's address in place of its name", "a name of the test can be read in what left this host (%s), and whether it went to a hop that resolves is not known: %s", s.Form, way)
	case s.What == "label" && s.Form == "wire":
		f.leak("D5", "", "a name of the test left this host in a question in clear: %s", way)
	case s.What == "label":
		f.leak("D4", "", "a name of the test can be read in what left this host (%s): %s", s.Form, way)
	case s.Ours && s.What == "dot":
		f.leak("D5", "", "this program spoke to an encrypted resolver that no channel has: %s", way)
	case r.strange(s):
		f.leak("E1", fixProgram, "this program asked in clear for a name that is none of the test's, and nobody else uses it: %s", way)
	case s.Ours:
		f.leak("B5", "", "this program asked for names in clear (%s): %s", s.What, way)
	}
}

// toldTheName says whether a packet gives a name to a hop that is to resolve it, without TLS; perhaps, where such a hop is known by
// its own name alone.
func (r *run) toldTheName(s Sighting) (yes, perhaps bool) {
	if s.What != "label" || s.Form != "host" && s.Form != "text" && s.Form != "sni" {
		return false, false
	}
	for _, c := range r.channels {
		if !c.Exit {
			continue
		}
		yes = yes || slices.Contains(c.Peers, s.To) || slices.Contains(c.Peers, s.From)
		perhaps = perhaps || len(c.Peers) == 0
	}
	return yes, perhaps && !yes
}

// shownToCanary says whether a packet has a name that is said to the canary in a handshake of TLS, on the way of its channel:
// to the canary itself, or to the first hop, and perhaps that, where the hop is known by its own name alone.
func (r *run) shownToCanary(s Sighting) (yes, perhaps bool) {
	k := r.known[r.shown[s.Label]]
	if s.What != "label" || s.Form != "sni" || k == nil {
		return false, false
	}
	if len(k.channel.Hops) == 0 {
		return s.To.Port() == r.api.port, false
	}
	if len(k.channel.Peers) == 0 {
		return false, true
	}
	return slices.Contains(k.channel.Peers, s.To), false
}

// trySockets looks at the sockets of this process.
func trySockets(_ context.Context, r *run, f *findings) {
	if r.watching == nil {
		f.skip("sockets were not looked at: %s", r.unseen)
		return
	}
	others := slices.DeleteFunc(slices.Clone(r.observed.Sockets), r.outside.has)
	for _, s := range others {
		f.leak("B5", "", "this process has a socket where names are asked for in clear: %s", s)
	}
	if len(others) == 0 {
		f.held("this process has no socket to a port where names are asked for in clear")
	}
}
