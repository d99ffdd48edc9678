package route

import (
	"net/netip"
	"slices"

	"watertight/channel"
	"watertight/client"
	"watertight/name"
)

// Given is a name for which an address was given out, with the channel that the rules give the name.
type Given struct {
	Host    name.Host
	Channel string
}

// GivenFor gives the names for which an address was given out to a client that asked from an address of its own, the
// latest of each rule last. It gives those alone that the rule would still be taken for, and looks nothing up.
func (t *Table) GivenFor(from, addr netip.Addr) []Given {
	var all []Given
	for i, r := range t.rules {
		if r.Refuse {
			continue
		}
		for _, text := range asked(r.Channel, r.Labels, client.Identity{}, from).GivenFor(addr) {
			h, err := name.ParseHost(text)
			if err != nil {
				continue
			}
			if now, _, ok := t.match(h, ""); ok && now == i {
				all = append(all, Given{h, r.Channel.Name()})
			}
		}
	}
	return all
}

// asked is the part of a channel that a client has asked its questions of: a question has no session of its own.
func asked(c *channel.Channel, labels Labels, id client.Identity, from netip.Addr) channel.Part {
	with, err := labels.of(id, false)
	if err != nil {
		with = id
	}
	return c.For(with, from)
}

// Leads gives the name of the channel that the rules give a host for a client without a name, or "" where they refuse it.
func (t *Table) Leads(h name.Host) string {
	r, err := t.rule(h, "")
	if err != nil {
		return ""
	}
	return r.Channel.Name()
}

// wasGiven says whether the address that a request is about was given out to its client: for the name that the door says
// is meant, where it is a name.
func wasGiven(part channel.Part, r Request) bool {
	host, named := r.Target.Host().Name()
	if !named {
		return part.Gave(r.Original)
	}
	return slices.Contains(part.GivenFor(r.Original), host)
}
