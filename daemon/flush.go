package daemon

import (
	"context"

	"watertight/control"
	"watertight/netwatch"
)

// Flush empties the cache of a channel with all that hangs on it, or of every channel where the name is empty. Of a channel
// whose exit resolves, which has no cache, it forgets the connections and TLS sessions with its proxies. The error is a
// *[control.UnknownChannelError].
func (d *Daemon) Flush(channel string) ([]control.Flushed, error) {
	g := d.current()
	var done []control.Flushed
	found := channel == ""
	for _, r := range g.channels {
		if channel != "" && r.Name() != channel {
			continue
		}
		found = true
		entries, octets := r.Flush()
		done = append(done, control.Flushed{Channel: r.Name(), Entries: entries, Bytes: octets})
	}
	if !found {
		return nil, &control.UnknownChannelError{Name: channel, Channels: g.names()}
	}
	return done, nil
}

// watchAround empties every cache when the network changes, and when the host has slept, perhaps to wake up elsewhere: what was
// answered there may be wrong here, and nothing is to link the two. Every change is reason to test anew.
func (d *Daemon) watchAround(ctx context.Context) {
	o := netwatch.Options{Network: d.o.Network, Files: d.o.ResolverFiles, Clocks: d.o.Clocks}
	err := netwatch.Run(ctx, o, d.around, func(err error) {
		d.o.Log.Warn("changes of the network are not noticed any more: `watertight cache flush` empties the caches", "error", err)
	})
	if err != nil {
		d.o.Log.Error("what is around the program is not watched", "error", err) // the options were checked: a fault of the program
	}
}

// around deals with one change.
func (d *Daemon) around(what netwatch.Kind) {
	if what != netwatch.Resolver { // no name is resolved by those files
		d.guard.changed() // another device may lead out
		d.leaveNetwork(what)
	} else {
		d.lookAtResolverFiles()
	}
	d.tests.schedule.Changed(whatChanged(what))
}

// leaveNetwork forgets what was learnt in the network before.
func (d *Daemon) leaveNetwork(why netwatch.Kind) {
	g := d.current()
	for _, r := range g.channels {
		r.Flush()
	}
	g.gateway.Drop()
	d.metrics.NetworkChanged()
	what := "the network has changed"
	if why == netwatch.Resume {
		what = "the host has slept"
	}
	d.o.Log.Info(what + ": caches are emptied, and connections to resolvers are made anew")
}
