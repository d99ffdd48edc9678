package leaktest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"watertight/visit"
)

// together is how many cases are tried at the same time.
const together = 4

// run is a run under way.
type run struct {
	o        Options
	about    About
	channels []Channel
	doors    []Door
	before   Counters

	watching Watching
	observed Observed
	unseen   string // why packets are not read; empty: they are

	api      *api
	home     dial // to the canary
	zone     visit.Zone
	noCanary string // why there is none; empty: there is one
	known    map[string]*ours
	control  controlled

	progress progress
	within   within
	outside  outside
	guarded  guarded

	mu     sync.Mutex
	labels []string // all that were made
	seen   []visit.Seen
	apart  []apart
	owners map[string]string // the channel of each label
	shown  map[string]string // the same of those that this program says to the canary by TLS, as a client of https:// does
}

func newRun(o Options) *run {
	s := o.Subject
	r := &run{o: o, about: s.About(), channels: s.Channels(), doors: s.Doors(), before: s.Counters(), owners: map[string]string{}, shown: map[string]string{}}
	r.progress.tell = o.Progress
	return r
}

// begin starts what looks on.
func (r *run) begin(ctx context.Context) {
	r.meetGuard(ctx)
	if r.o.Observer == nil {
		r.unseen = "nobody reads packets here"
		return
	}
	look := Look{Labels: r.live, PCAP: r.o.PCAP}
	for _, d := range r.doors {
		look.Doors = append(look.Doors, d.Address)
	}
	for _, c := range r.channels {
		if c.Exit {
			look.Names = append(look.Names, c.Peers...)
		} else if len(c.Hops) == 0 {
			look.Resolvers = append(look.Resolvers, c.Peers...)
		}
	}
	for _, n := range r.about.Names {
		look.Own = append(look.Own, n.Host)
	}
	w, err := r.o.Observer.Start(ctx, look)
	if err != nil {
		r.unseen = clean(err.Error())
		return
	}
	r.watching = w
}

// live gives the labels that were made so far.
func (r *run) live() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.labels)
}

// tryAll tries the cases: first those that do something, several at the same time; then those that look at what came of it.
func (r *run) tryAll(ctx context.Context) []Case {
	all := r.chosen()
	r.progress.of = len(all)
	notes := make([]findings, len(all))
	took := make([]time.Duration, len(all))
	try := func(i int) {
		started := time.Now()
		r.progress.began(all[i].ID)
		r.try(ctx, all[i], &notes[i])
		took[i] = time.Since(started)
	}
	// What fails on purpose comes after the rest: a resolver may keep away for a while from a server that failed it.
	for _, now := range []stage{early, failing} {
		places := make(chan struct{}, together)
		var trying sync.WaitGroup
		for _, i := range rand.Perm(len(all)) {
			if all[i].stage != now {
				continue
			}
			places <- struct{}{}
			trying.Go(func() {
				defer func() { <-places }()
				pause(ctx, rand.N(pauseMost))
				try(i)
			})
		}
		trying.Wait()
	}
	r.compare(ctx, all, notes)
	r.stopWatching()
	for i, d := range all {
		if d.stage == looking {
			try(i)
		} else if d.then != nil {
			safely(&notes[i], func() { d.then(ctx, r, &notes[i]) })
		}
	}
	cases := make([]Case, len(all))
	for i, d := range all {
		cases[i] = notes[i].conclude(d)
		cases[i].TookMS = milliseconds(took[i])
	}
	return cases
}

// pauseMost is the longest pause before a case, and between two questions.
const pauseMost = 400 * time.Millisecond

// pauseBriefly waits for a moment of chance.
func pauseBriefly(ctx context.Context) { pause(ctx, rand.N(pauseMost/20)) }

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// safely does something for a case. What goes wrong with it is the case's own trouble, and not the program's.
func safely(f *findings, do func()) {
	defer guard(f)
	do()
}

// guard is deferred by each goroutine of a case.
func guard(f *findings) {
	if p := recover(); p != nil {
		f.doubt(fixProgram, "the case failed by itself: %v", p)
	}
}

// try tries one case.
func (r *run) try(ctx context.Context, d definition, f *findings) {
	ctx, cancel := context.WithTimeout(ctx, caseLimit)
	defer cancel()
	if d.Canary && r.noCanary != "" {
		f.skip("%s", r.noCanary)
		return
	}
	safely(f, func() { d.try(ctx, r, f) })
	if ctx.Err() != nil {
		f.doubt("run it again", "the time was up before all was tried")
	}
}

// chosen gives the cases that were asked for.
func (r *run) chosen() (all []definition) {
	for _, d := range definitions() {
		if len(r.o.Only) == 0 || slices.Contains(r.o.Only, d.ID) {
			all = append(all, d)
		}
	}
	return all
}

func (r *run) stopWatching() {
	if r.watching == nil {
		return
	}
	seen, err := r.watching.Stop()
	r.observed = seen
	if err != nil {
		r.observed.Blind = orElse(r.observed.Blind, "reading packets failed: "+clean(err.Error()))
	}
}

func (r *run) environment() Environment {
	e := Environment{
		Version: r.about.Version, System: system(), File: r.about.File, Running: r.about.Running, Trigger: r.o.Trigger, Only: r.o.Only, Policy: r.about.Policy,
		Doors: []string{}, Channels: []Path{}, Watched: r.observed.Interfaces, Blind: orElse(r.unseen, r.observed.Blind),
	}
	for _, d := range r.doors {
		e.Doors = append(e.Doors, fmt.Sprintf("%s %s", d.Kind, d.At))
	}
	for _, c := range r.channels {
		k := r.known[c.Name]
		p := Path{Channel: c.Name, Over: c.Over, Hops: append([]string{}, c.Hops...), Resolve: "here", Resolvers: append([]string{}, c.Resolvers...), Asked: []string{}}
		if c.Exit {
			p.Resolve = "exit"
		}
		for _, a := range k.asked {
			p.Asked = append(p.Asked, party(a, r.networkOf(a)))
		}
		if k.noExit == nil && k.exit.Address.IsValid() {
			p.Exit = party(k.exit.Address, k.exit.Network)
		}
		e.Channels = append(e.Channels, p)
	}
	if r.o.Canary != nil {
		e.Canary = r.o.Canary.Zone
	}
	e.Control, e.Guard = r.control.outcome(), r.guarded.said
	return e
}

// progress tells how far a run is.
type progress struct {
	tell  func(Progress)
	mu    sync.Mutex
	begun int
	of    int
}

func (p *progress) began(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun++
	if p.tell != nil {
		p.tell(Progress{Begun: p.begun, Of: p.of, Case: id})
	}
}
