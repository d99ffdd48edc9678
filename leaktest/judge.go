package leaktest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"watertight/visit"
)

// visited is a label that was asked for.
type visited struct {
	label   string
	what    string // by what, for people
	channel string // whose resolver is to ask for it
	nobody  bool   // nobody is to ask for it
	must    bool   // it has to be seen, else nothing is shown
	came    bool   // a request by it was answered, and the canary has to have seen from where that came
	cause   string // of a second resolver; empty: that of the case
}

// settling is how long is waited after everything was tried: who asks too late would not be seen.
const settling = 2 * time.Second

// label makes a label that is looked for from now on.
func (r *run) label() string {
	l := visit.NewLabel()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.labels = append(r.labels, l)
	return l
}

// name is a fresh name of the canary in a branch.
func (r *run) name(branch visit.Branch) (label, host string) {
	label = r.label()
	return label, visit.Name(label, branch, r.o.Canary.Zone)
}

// compare asks the canary for every label of the cases, and tells each case what is wrong with what was seen.
func (r *run) compare(ctx context.Context, all []definition, notes []findings) {
	if r.noCanary != "" {
		return
	}
	type entry struct {
		visited
		f     *findings
		cause string
		seen  visit.Seen
		err   error
	}
	var entries []entry
	for i := range all {
		for _, v := range notes[i].made() {
			entries = append(entries, entry{visited: v, f: &notes[i], cause: orElse(v.cause, all[i].Cause)})
		}
	}
	if len(entries) == 0 {
		return
	}
	pause(ctx, settling)
	var asking sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range entries {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			e := &entries[i]
			defer guard(e.f)
			e.seen, e.err = r.api.seen(ctx, r.home, e.label)
		})
	}
	asking.Wait()
	for _, e := range entries {
		if k := r.known[e.channel]; k != nil && e.err == nil {
			k.meet(e.seen)
		}
		r.keep(e.channel, e.seen)
	}
	for _, e := range entries {
		if e.err != nil {
			e.f.doubt("see whether the canary's API can be reached", "%s: %s", e.what, e.err)
			continue
		}
		safely(e.f, func() { r.judge(e.visited, e.cause, e.seen, e.f) })
	}
}

// atOnce is how many labels the canary is asked about at the same time.
const atOnce = 8

// keep remembers what was seen, for the cases that look at all of it.
func (r *run) keep(channel string, s visit.Seen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owners[s.Label] = channel
	r.seen = append(r.seen, s)
}

const fixSecond = "find out who asks there: a `fallback` or a second resolver beside the channel's, the host's own resolver, or an exit that resolves by itself; only the channel's resolver may see its names"

// judge compares what was seen of a label with what may be.
func (r *run) judge(v visited, cause string, s visit.Seen, f *findings) {
	if s.Cut {
		f.doubt("run it again, against a canary that keeps more", "%s: there was more than the canary keeps", v.what)
	}
	var by []string
	for _, q := range s.Queries {
		from := q.From.Addr().Unmap()
		who := party(from, q.Network)
		if !slices.Contains(by, who) {
			by = append(by, who)
		}
		if v.nobody {
			continue
		}
		r.judgeQuery(v, cause, s, q, f)
	}
	switch {
	case v.nobody && len(s.Queries) > 0:
		f.leak(cause, "", "%s: nobody was to be asked, and %s asked the canary", v.what, strings.Join(by, " and "))
	case v.nobody && len(s.Requests) > 0:
		f.leak(cause, "", "%s: nobody was to be reached, and a request from %s came to the canary", v.what, s.Requests[0].From.Addr())
	case v.nobody:
		f.held("%s: the canary has seen nothing", v.what)
	case len(s.Queries) == 0 && v.must:
		f.doubt("see whether the zone is delegated to this canary: `watertight canary check`", "%s: the canary has not seen the question, so that no other would be seen either", v.what)
	case len(s.Queries) == 0:
		f.note("%s: the canary has seen no question", v.what)
	default:
		f.held("%s: the canary was asked by %s", v.what, strings.Join(by, " and "))
	}
	if v.came && len(s.Requests) == 0 {
		f.doubt("run it again, against a canary that keeps more", "%s: the canary does not know from where the request came", v.what)
	}
	r.judgeRequests(v, s, f)
}

// judgeQuery says whether one question came from who may ask it.
func (r *run) judgeQuery(v visited, cause string, s visit.Seen, q visit.Query, f *findings) {
	k := r.known[v.channel]
	from := q.From.Addr().Unmap()
	who := party(from, q.Network)
	if slices.Contains(k.asked, from) || slices.Contains(k.channel.Addresses, from) {
		return
	}
	if own := r.ownAddress(); own.IsValid() && own == from && !k.channel.Exit {
		f.leak("D5", "", "%s: the question came to the canary from this host's own address %s over %s: it was asked outside of every channel, or by a resolver of this network", v.what, who, q.Over)
		return
	}
	if other := r.owner(q, k); other != "" {
		f.leak("D5", "", "%s: the question was asked by %s, the resolver of the channel %s, and not by that of %s", v.what, who, other, v.channel)
		return
	}
	if k.channel.Exit { // whoever the exit asks
		return
	}
	if k.noExit == nil && k.exit.Address == from && len(k.channel.Hops) > 0 { // though it may be of the resolver's network
		f.leak("D4", "use an exit that takes addresses as they are", "%s: the exit %s asked too: the name was resolved here and was sent as well", v.what, who)
		return
	}
	if len(k.asked) == 0 {
		f.doubt("see why the channel's resolver does not say who it is", "%s: %s asked, and it is not known who the channel's resolver is: %v", v.what, who, k.noAsked)
		return
	}
	yes, sure := k.has(q)
	switch {
	case yes:
	case sure, r.askedByOurs(k, s):
		f.leak(cause, fixSecond, "%s: the name was asked by %s too, which is not the resolver of the channel %s (%s)", v.what, who, v.channel, joined(k.asked))
	default:
		f.doubt("give the canary data about networks (`watertight canary --help`), or use a resolver with one address", "%s: %s asked; whether that is the resolver of the channel %s (%s) is not known", v.what, who, v.channel, joined(k.asked))
	}
}

// askedByOurs says whether the channel's own resolver is among those who asked.
func (r *run) askedByOurs(k *ours, s visit.Seen) bool {
	return slices.ContainsFunc(s.Queries, func(q visit.Query) bool { yes, _ := k.has(q); return yes })
}

// owner gives another channel whose resolver asks from there, where that is certain.
func (r *run) owner(q visit.Query, but *ours) string {
	for _, c := range r.channels {
		if k := r.known[c.Name]; k != but && slices.Contains(k.asked, q.From.Addr().Unmap()) && !sharesResolver(k, but) {
			return c.Name
		}
	}
	return ""
}

// sharesResolver says that two channels have a resolver in common, so that none can be told from the other.
func sharesResolver(a, b *ours) bool {
	return slices.ContainsFunc(a.channel.Addresses, func(x netip.Addr) bool { return slices.Contains(b.channel.Addresses, x) }) ||
		slices.ContainsFunc(a.asked, func(x netip.Addr) bool { return slices.Contains(b.asked, x) })
}

// ownAddress is where this host comes out without a hop; not valid where no channel does.
func (r *run) ownAddress() netip.Addr {
	for _, c := range r.channels {
		if k := r.known[c.Name]; len(c.Hops) == 0 && k.noExit == nil {
			return k.exit.Address
		}
	}
	return netip.Addr{}
}

// judgeRequests says whether connections came out where the channel does.
func (r *run) judgeRequests(v visited, s visit.Seen, f *findings) {
	k := r.known[v.channel]
	if k == nil || v.nobody {
		return
	}
	for _, q := range s.Requests {
		r.judgeExit(v, k, q.From.Addr().Unmap(), q.Network, f)
	}
}

// judgeExit says whether an address is one where a channel comes out.
func (r *run) judgeExit(v visited, k *ours, from netip.Addr, n *visit.Network, f *findings) {
	switch own := r.ownAddress(); {
	case len(k.channel.Hops) > 0 && own.IsValid() && own == from:
		f.leak("D5", "", "%s: the connection came to the canary from this host's own address %s, and not through the hops of the channel %s", v.what, party(from, n), k.channel.Name)
	case k.noExit == nil && k.exit.Address.Is4() == from.Is4() && k.exit.Address != from:
		f.note("%s: the connection came out at %s, and another of this channel at %s", v.what, party(from, n), party(k.exit.Address, k.exit.Network))
	default:
		f.held("%s: the connection came out at %s", v.what, party(from, n))
	}
}

func joined(addrs []netip.Addr) string {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return fmt.Sprintf("known to ask from %s", strings.Join(list, ", "))
}
