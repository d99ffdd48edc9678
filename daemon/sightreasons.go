package daemon

import (
	"fmt"
	"slices"
)

// When a place sees that there was a request.
const (
	timeRequests = "requests" // of each
	timeLookups  = "lookups"  // of those whose answer is not in the channel's cache
)

// reason is why a place sees something, and what would improve it; nothing where nothing is known that would.
func (s *Sight) reason(why, better string) {
	if !slices.Contains(s.Why, why) {
		s.Why = append(s.Why, why)
	}
	if better != "" && !slices.Contains(s.Better, better) {
		s.Better = append(s.Better, better)
	}
}

// reasons tells of each place when it sees something, why, and what would improve it.
func (e *Explanation) reasons(way []*running) {
	all := legs(way)
	for i := range e.Sees {
		s := &e.Sees[i]
		s.Time, s.Why, s.Better = timeRequests, []string{}, []string{}
		switch s.Kind {
		case placeNetwork:
			e.ofNetwork(s, all)
		case placeHop:
			e.ofHop(s, len(all) > 0 && s.From == you)
		case placeRelay:
			s.Time = timeLookups
			s.reason("it passes on questions that it cannot read", "")
		case placeResolver:
			s.Time = timeLookups
			e.ofResolver(s, way)
		case placeDestination:
			s.reason("it is who the request is for", "")
			if s.From == you {
				s.reason("nothing stands between it and your address", "a `proxy` or `wireguard` in the channel shows it the address of an exit")
			}
		}
	}
}

// onName tells how a place comes to read the target's name in what the client itself sends.
func (s *Sight) onName(where string) {
	for _, in := range s.TargetName {
		switch in {
		case inSNI:
			s.reason("the client's TLS handshake says the name "+where, "encrypted client hello (ECH), where the destination has it and the client uses it: `--live` tells the first")
		case inClear:
			s.reason("an http:// request is not encrypted", "https://")
		}
	}
}

func (e *Explanation) ofNetwork(s *Sight, all []leg) {
	s.reason("all packets of this host pass there", "")
	switch {
	case len(all) == 0:
		s.onName("to whoever is on the way")
		s.reason("the destination's address stands on each packet", "a `proxy` over TLS (https://, h2://, h3://) or `wireguard` in the channel: then it sees that one's address, and no name")
	case !all[0].encrypted():
		s.onName("inside a proxy's protocol that is not encrypted")
		if slices.Contains(s.TargetName, inRequest) {
			s.reason("a proxy without TLS is asked for the target in clear", "")
		}
		s.reason("it reads what "+all[0].place()+" is asked", "reach that proxy over TLS, or put a `wireguard` channel under it (`over`)")
	}
	if len(s.HopNames) > 0 {
		s.reason("the names of proxies and resolvers stand in TLS handshakes with them, or in what is asked in clear", "`ech` for a resolver that has it; for a proxy its address, with `name` to prove it")
	}
}

func (e *Explanation) ofHop(s *Sight, first bool) {
	if first {
		s.reason("it is the first hop: your address stands on what comes to it", "a channel under this one (`over`) shows it another address")
	} else {
		s.reason("it is behind "+s.From, "")
	}
	s.onName("inside the tunnel that it carries")
	if slices.Contains(s.TargetName, inRequest) {
		s.reason("it is given the name, and resolves it", "`resolve: here` gives it an address, and asks the channel's resolver for it")
	}
	if slices.Contains(s.TargetName, inQuestion) {
		s.reason("names are asked for in clear inside the tunnel (`dns_over_tunnel`)", "an encrypted resolver in the channel")
	}
}

func (e *Explanation) ofResolver(s *Sight, way []*running) {
	asked := "it is asked for the target's addresses"
	if len(s.TargetName) == 0 {
		asked = "it is asked for the names of proxies and resolvers"
	}
	s.reason(asked, "")
	if s.From == you {
		s.reason("its questions come from your address", "a `proxy` or `wireguard` in that channel, or ODoH, or DNSCrypt with a relay")
	}
	for _, r := range way {
		if r.Name() != s.Channel {
			continue
		}
		o := r.Spec().Resolver
		if n := min(o.Strategy.Race, len(o.Upstreams)); n > 1 && len(s.TargetName) > 0 {
			s.reason(fmt.Sprintf("a race asks %d resolvers at once", n), "`strategy: order` shows a name to one, and `random` each name to one of them")
		}
	}
}
