package daemon

import (
	"context"
	"log/slog"

	"watertight/channel"
	"watertight/config"
	"watertight/event"
	"watertight/name"
	"watertight/wire"
)

// Way is a channel that a command has opened for itself.
type Way struct {
	*channel.Channel
	g *generation
}

// Settle waits until the channel's resolver was asked once, and gives its fault at once if it cannot answer.
func (w *Way) Settle(ctx context.Context) error { return settle(ctx, w.g, w.Channel) }

// Through opens the channels of a configuration, has the one used that a name takes, and closes them again: for a command that
// speaks to a host by itself. With an empty channel name the routes choose. What earlier runs kept is used, from the
// configuration's directory or else from state, and nothing is kept. The error is for a configuration that cannot be opened, for
// a name that no channel takes, and what use gives. The channel may not be ready yet.
func Through(ctx context.Context, c *config.Config, state, channelName string, host name.Host, log *slog.Logger, use func(context.Context, *Way) error) error {
	ground, err := groundFor(c, wire.Dialer{})
	if err != nil {
		return err
	}
	m, err := newDiary(stateDir(c, state), log)
	if err != nil {
		return err
	}
	if m != nil {
		m.reads = true
	}
	g, err := build(c, shared{ground: ground, sink: event.Discard{}, floor: m.floor(), diary: m}, nil)
	if err != nil {
		return err
	}
	g.start(ctx)
	defer g.discard(nil)
	through, err := choose(g, channelName, host)
	if err != nil {
		return err
	}
	return use(ctx, &Way{through, g})
}
