package daemon

import (
	"context"

	"watertight/control"
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

// watchNetwork empties every cache when the network changes: what was answered there may be wrong here, and nothing is
// to link the two.
func (d *Daemon) watchNetwork(ctx context.Context) {
	err := d.o.Network(ctx, func() {
		g := d.current()
		for _, r := range g.channels {
			r.Flush()
		}
		g.gateway.Drop()
		d.metrics.NetworkChanged()
		d.o.Log.Info("the network has changed: caches are emptied, and connections to resolvers are made anew")
	})
	if err != nil {
		d.o.Log.Warn("changes of the network are not noticed any more: `watertight cache flush` empties the caches", "error", err)
	}
}
