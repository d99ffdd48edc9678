package leaktest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/visit"
)

// ours is what is known of a channel before it is tried: from where its resolver asks, and where it comes out.
type ours struct {
	channel  Channel
	asked    []netip.Addr     // addresses that the resolver asks from, by its own answer
	networks []*visit.Network // whose they are
	exit     visit.Whoever
	noExit   error // why the exit is not known
	noAsked  error // why the resolver is not known
}

// askWhoami is how often a resolver is asked where it asks from: it may have many addresses.
const askWhoami = 2

// learn asks the canary about itself and about every channel. Without a canary it learns nothing.
func (r *run) learn(ctx context.Context) {
	r.known = make(map[string]*ours, len(r.channels))
	for _, c := range r.channels {
		r.known[c.Name] = &ours{channel: c}
	}
	if !slices.ContainsFunc(r.chosen(), func(d definition) bool { return d.Canary || d.fresh }) {
		r.noCanary = "no case needs one"
		return
	}
	if r.o.Canary == nil {
		r.noCanary = "no canary is configured (`leaktest.canary`)"
		return
	}
	var err error
	if r.api, err = newAPI(*r.o.Canary); err != nil {
		r.noCanary = err.Error()
		return
	}
	home := r.known[r.o.Canary.Channel]
	if home == nil {
		r.noCanary = "the channel to the canary, " + r.o.Canary.Channel + ", does not exist"
		return
	}
	r.home = r.api.through(home.channel)
	if r.zone, err = r.api.zone(ctx, r.home); err != nil {
		r.noCanary = "the canary cannot be asked through the channel " + home.channel.Name + ": " + clean(err.Error())
		return
	}
	var learning sync.WaitGroup
	for _, k := range r.known {
		learning.Go(func() { r.learnOf(ctx, k) })
	}
	learning.Wait()
}

// learnOf asks one channel's resolver and its exit.
func (r *run) learnOf(ctx context.Context, k *ours) {
	var learning sync.WaitGroup
	defer learning.Wait()
	learning.Go(func() { k.exit, k.noExit = r.api.whoever(ctx, r.api.through(k.channel)) })
	if k.channel.Exit {
		k.noAsked = errors.New("its exit resolves, and cannot be asked")
		return
	}
	for i := range askWhoami {
		for _, t := range []dnswire.Type{dnswire.TXT, dnswire.A, dnswire.AAAA} {
			a, _, err := k.channel.Exchange(ctx, dnswire.Question{Name: visit.Whoami + "." + r.o.Canary.Zone, Type: t})
			if err != nil {
				k.noAsked = err
				continue
			}
			for _, addr := range told(a) {
				if !slices.Contains(k.asked, addr) {
					k.asked = append(k.asked, addr)
				}
			}
		}
		if i+1 < askWhoami {
			pause(ctx, whoamiTTL)
		}
	}
	if len(k.asked) > 0 {
		k.noAsked = nil
	} else if k.noAsked == nil {
		k.noAsked = errors.New("the canary does not say where its resolver asks from")
	}
}

// whoamiTTL is how long an answer to a question for who asks may be remembered.
const whoamiTTL = 1100 * time.Millisecond

// told gives the addresses in an answer.
func told(a *dnswire.Answer) (addrs []netip.Addr) {
	for _, record := range a.Final() {
		if record.Addr.IsValid() {
			addrs = append(addrs, record.Addr.Unmap())
		}
		text, _ := record.Strings()
		for _, word := range strings.FieldsFunc(string(text), func(c rune) bool { return c == ' ' || c == '=' || c == '"' }) {
			if addr, err := netip.ParseAddr(word); err == nil {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	return addrs
}

// has says whether the channel's resolver asks from an address, as far as is known: it is one of those that it told, one that is
// configured, or one of the same network. sure is false where nothing is known of whose the address is.
func (k *ours) has(q visit.Query) (yes, sure bool) {
	addr := q.From.Addr().Unmap()
	if slices.Contains(k.asked, addr) || slices.Contains(k.channel.Addresses, addr) {
		return true, true
	}
	for _, a := range k.asked {
		if near(a, addr) {
			return true, true
		}
	}
	if q.Network == nil || q.Network.Number == 0 {
		return false, false
	}
	known := false
	for _, n := range k.networks {
		if n.Number == q.Network.Number {
			return true, true
		}
		known = known || n.Number != 0
	}
	return false, known
}

// near says whether two addresses are of one network by all that can be said without data: a /24, or a /48.
func near(a, b netip.Addr) bool {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	return err == nil && p.Contains(b)
}

// meet remembers whose the addresses of a channel's resolver are, from what was seen of it.
func (k *ours) meet(s visit.Seen) {
	for _, q := range s.Queries {
		if q.Network == nil || q.Network.Number == 0 || !slices.Contains(k.asked, q.From.Addr().Unmap()) {
			continue
		}
		if !slices.ContainsFunc(k.networks, func(n *visit.Network) bool { return n.Number == q.Network.Number }) {
			k.networks = append(k.networks, q.Network)
		}
	}
}
