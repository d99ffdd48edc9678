package daemon

import (
	"context"
	"fmt"
	"net/netip"

	"watertight/leaktest"
	"watertight/leaktest/watch"
)

// Packets is the observer of this host's packets, and of the sockets of this process.
func Packets() leaktest.Observer { return packets{} }

type packets struct{}

// Start reads packets until Stop.
func (packets) Start(ctx context.Context, l leaktest.Look) (leaktest.Watching, error) {
	w, err := watch.Start(ctx, watch.Options{
		Labels:    l.Labels,
		Doors:     func() []netip.AddrPort { return l.Doors },
		Own:       l.Own,
		Resolvers: l.Resolvers, Destinations: func() []netip.AddrPort { return l.Names }, PCAP: l.PCAP,
	})
	if err != nil {
		return nil, err
	}
	return watching{w}, nil
}

type watching struct{ *watch.Watch }

// Stop ends it, and gives what was seen.
func (w watching) Stop() (leaktest.Observed, error) {
	seen, err := w.Watch.Stop()
	o := leaktest.Observed{Interfaces: seen.Interfaces, Blind: seen.Blind}
	if seen.More > 0 {
		o.More = fmt.Sprintf("and %d more kinds of packets", seen.More)
	}
	for _, s := range seen.Sightings {
		o.Sightings = append(o.Sightings, leaktest.Sighting{
			Interface: s.Interface, From: s.From, To: s.To, Proto: s.Proto, What: string(s.What), Form: string(s.Form),
			Label: s.Label, Process: s.Process, Ours: s.Ours,
		})
	}
	for _, s := range seen.Sockets {
		o.Sockets = append(o.Sockets, s.String())
	}
	return o, err
}
