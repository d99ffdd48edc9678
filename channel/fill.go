package channel

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"

	"watertight/client"
	"watertight/fault"
	"watertight/hop"
	"watertight/name"
)

// seedLength is that of the secret from which a channel makes sessions where nobody asked for one, in octets.
const seedLength = 32

func newSeed() []byte {
	seed := make([]byte, seedLength)
	_, _ = rand.Read(seed) // it never fails
	return seed
}

// filled gives the proxies of a spec as they are asked for an identity. The error is a [*fault.Error] that shows no value.
func (s Spec) filled(id client.Identity, seed []byte) ([]hop.Proxy, error) {
	var all []hop.Proxy
	for _, p := range s.Proxies {
		one, err := p.For(id, seed)
		if err != nil {
			return nil, s.unfilled(err)
		}
		all = append(all, one)
	}
	return all, nil
}

func (s Spec) unfilled(err error) *fault.Error {
	return &fault.Error{
		Code: fault.BadRequest, Message: "channel " + s.Name + ": " + err.Error(), Channel: s.Name,
		Hint: "mend the labels in the client's user name, as in USER-country-de-session-ID, or those of the route",
	}
}

// labels are those that mean nothing unless a way out is told of them.
var labels = []struct {
	place string
	of    func(client.Identity) string
}{
	{"country", func(i client.Identity) string { return i.Country }},
	{"state", func(i client.Identity) string { return i.State }},
	{"city", func(i client.Identity) string { return i.City }},
	{"ttl", func(i client.Identity) string { return i.TTL }},
}

// honours refuses an identity with a label that would be dropped: the exit would not be where the client asked for it.
func (c *Channel) honours(id client.Identity) error {
	for _, l := range labels {
		if l.of(id) != "" && !c.tells(l.place) {
			return &fault.Error{
				Code: fault.BadRequest, Message: fmt.Sprintf("channel %s has no exit that can be asked for a %s", c.spec.Name, l.place), Channel: c.spec.Name,
				Hint: "leave -" + l.place + "-… out of the client's user name, or give the channel's proxy a `template`, or {" + l.place + "} in its user or password",
			}
		}
	}
	return nil
}

// tells says whether a proxy of the channel, or of one underneath, is told a label.
func (c *Channel) tells(place string) bool {
	for _, p := range c.spec.Proxies {
		if p.Template.Has(place) {
			return true
		}
	}
	return c.under != nil && c.under.tells(place)
}

// refusing stands under a channel that works for nobody without a name: nothing leaves, and the fault says why.
type refusing struct{ why error }

func (r refusing) Dial(context.Context, name.Target) (net.Conn, error)  { return nil, r.why }
func (r refusing) Lookup(context.Context, string) ([]netip.Addr, error) { return nil, r.why }
func (refusing) Packets() hop.PacketDialer                              { return nil }
