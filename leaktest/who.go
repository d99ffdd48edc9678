package leaktest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"watertight/visit"
)

// networkOf gives whose an address of a resolver is, by what was seen of it.
func (r *run) networkOf(a netip.Addr) *visit.Network {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.seen {
		for _, q := range s.Queries {
			if q.From.Addr().Unmap() == a && q.Network != nil {
				return q.Network
			}
		}
	}
	return nil
}

// tryWho compares the country of each channel's resolver with that of its exit.
func tryWho(_ context.Context, r *run, f *findings) {
	for _, c := range r.channels {
		k := r.known[c.Name]
		switch {
		case c.Exit:
			f.skip("channel %s: its exit resolves", c.Name)
			continue
		case len(k.asked) == 0:
			f.doubt("see `watertight status`", "channel %s: who its resolver is, is not known: %v", c.Name, k.noAsked)
			continue
		case k.noExit != nil:
			f.doubt("see `watertight status`", "channel %s: where it comes out is not known: %v", c.Name, k.noExit)
			continue
		}
		r.compareCountries(k, f)
	}
}

func (r *run) compareCountries(k *ours, f *findings) {
	exit := country(k.exit.Network)
	var all, countries []string
	for _, a := range k.asked {
		n := r.networkOf(a)
		all = append(all, party(a, n))
		if c := country(n); c != "" && !slices.Contains(countries, c) {
			countries = append(countries, c)
		}
	}
	what := fmt.Sprintf("channel %s: its resolver asks from %s, and connections come out at %s", k.channel.Name, strings.Join(all, ", "), party(k.exit.Address, k.exit.Network))
	switch {
	case exit == "" || len(countries) == 0:
		f.note("%s", what)
		f.skip("channel %s: the canary has no data about the countries of these networks", k.channel.Name)
	case slices.Contains(countries, exit):
		f.held("%s", what)
	case len(k.channel.Hops) == 0:
		f.held("%s: another country; nothing is hidden by this channel, which has no hops", what)
	default:
		f.leak("F7", "", "%s: the resolver is in %s and the exit in %s, which tells whoever runs a site that a proxy is used, and narrows down whose", what, strings.Join(countries, ", "), exit)
	}
}

func country(n *visit.Network) string {
	if n == nil {
		return ""
	}
	return n.Country
}

// tryHabits looks at how the resolvers asked.
func tryHabits(_ context.Context, r *run, f *findings) {
	own := r.ownAddress()
	resolvers := map[string]bool{}
	for _, s := range r.seen {
		for _, q := range s.Queries {
			k := r.askedFor(s.Label)
			if k == nil {
				continue
			}
			if q.Subnet != "" && !strings.HasSuffix(q.Subnet, "/0") {
				r.judgeSubnet(k, q, own, f)
			}
			resolvers[fmt.Sprintf("channel %s: asked over %s; DNSSEC %s, mixed case %s, cookie %s, minimised names %s",
				k.channel.Name, clean(q.Over), yesNo(q.DNSSEC), yesNo(q.MixedCase), yesNo(q.Cookie), yesNo(s.Minimised))] = true
		}
	}
	for _, line := range sorted(resolvers) {
		f.held("%s", line)
	}
}

// judgeSubnet looks at the network of a client that a resolver passed on (RFC 7871).
func (r *run) judgeSubnet(k *ours, q visit.Query, own netip.Addr, f *findings) {
	subnet, err := netip.ParsePrefix(q.Subnet)
	if err != nil {
		return
	}
	if len(k.channel.Hops) > 0 && own.IsValid() && subnet.Contains(own) {
		f.leak("F3", "use a resolver that passes no client subnet on", "channel %s: its resolver told the canary the network %s, which is this host's own and not the exit's", k.channel.Name, subnet)
		return
	}
	f.held("channel %s: its resolver told the canary the network %s of who asks, though it was asked not to (RFC 7871, section 7.1.2)", k.channel.Name, subnet)
}

// askedFor gives the channel in which a label was asked for.
func (r *run) askedFor(label string) *ours {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[r.owners[label]]
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func sorted(set map[string]bool) (list []string) {
	for s := range set {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}
