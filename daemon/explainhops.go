package daemon

import (
	"fmt"
	"slices"

	"watertight/client"
	"watertight/config"
	"watertight/credential"
	"watertight/hop"
	"watertight/name"
	"watertight/route"
)

// How a hop is found.
const (
	foundByAddress  = "address"
	foundByResolver = "resolver"
	foundByExit     = "exit"
)

// By what a hop is asked for the next one.
const (
	asName    = "name"
	asAddress = "address"
)

// identify tells whom the request is for.
func (e *Explanation) identify(said route.Explained) {
	id := said.Identity
	if said.PerRequest {
		id.Session = config.PerRequest
	}
	if !id.IsZero() {
		e.Identity = &Asker{User: id.User, Session: id.Session, Country: id.Country, State: id.State, City: id.City, TTL: id.TTL}
	}
}

// follow tells of each hop what it is asked for.
func (e *Explanation) follow(way []*running, target name.Target, said route.Explained) {
	all := legs(way)
	from := you
	for i, l := range all {
		h := HopTaken{
			Hop: l.place(), Channel: l.of.Name(), From: from, YourAddress: from == you, Encrypted: l.encrypted(),
			FoundBy: foundByAddress, Next: target.String(), NextAs: asAddress, SeesName: []string{}, Told: toldTo(all[:i+1], said), Sticks: sticks(l, said.Identity),
		}
		if len(l.names()) > 0 {
			h.FoundBy, h.FoundIn = foundByResolver, l.below.Name()
			if l.byName {
				h.FoundBy = foundByExit
			}
		}
		switch {
		case i+1 < len(all):
			if h.Next = all[i+1].at(); all[i+1].byName {
				h.NextAs = asName
			}
		case e.Name.By == byExit:
			h.NextAs = asName
		}
		for _, s := range e.Sees {
			if s.Kind == placeHop && s.Place == l.place() && s.Channel == h.Channel {
				h.SeesName = s.TargetName
			}
		}
		e.Path = append(e.Path, h)
		from = l.at()
	}
}

// toldTo gives the labels of a client that the last of some hops is told: not their values as the provider gets them, which may
// be secrets. What comes above a tunnel is told; what is under it works for all, and is told nothing.
func toldTo(upTo []leg, said route.Explained) []string {
	labels := []string{}
	l := upTo[len(upTo)-1]
	if l.tunnel != nil {
		return labels
	}
	id := said.Identity
	for _, place := range []struct{ name, value string }{
		{credential.User, id.User},
		{credential.Session, id.Session},
		{credential.Country, id.Country},
		{credential.State, id.State},
		{credential.City, id.City},
		{credential.TTL, id.TTL},
	} {
		asked := slices.ContainsFunc(l.proxies(), func(p hop.Proxy) bool {
			return p.Template.Has(place.name) && (place.name != credential.User || p.Template.Provider() == "")
		})
		switch {
		case !asked:
		case place.name == credential.Session && (said.PerRequest || place.value == ""):
			labels = append(labels, "a session that is made")
		case place.value != "":
			labels = append(labels, place.name+" "+place.value)
		}
	}
	return labels
}

// sticks says to what a member of a pool is kept for a client; empty for no pool.
func sticks(l leg, id client.Identity) string {
	if l.pool == nil {
		return ""
	}
	who := map[hop.StickyBy]string{hop.ByUser: "the user", hop.BySession: "the session", hop.ByClient: "the client's address", hop.ByTarget: "the target"}[l.pool.By]
	switch {
	case l.pool.By == hop.ByNothing:
		return "to nothing: each connection takes one"
	case l.pool.By == hop.ByUser && id.User == "", l.pool.By == hop.BySession && id.Session == "":
		return "to nothing: the client has no " + string(l.pool.By)
	case l.pool.By == hop.BySession && id.TTL != "":
		return "to the session, for its " + id.TTL
	}
	return fmt.Sprintf("to %s, for %v", who, l.pool.For)
}
