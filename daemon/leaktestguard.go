package daemon

import (
	"context"

	"watertight/guard"
	"watertight/leaktest"
	strays "watertight/leaktest/probe"
)

var _ leaktest.Guarded = subject{}

// Guard reads back what guards the host, where the configuration asks for that.
func (s subject) Guard(ctx context.Context) (leaktest.Guard, error) {
	c := s.d.current().config
	g := leaktest.Guard{Written: c.Guard != nil, HandedOver: len(c.Listen.Transparent) > 0}
	if !g.Written {
		return g, nil
	}
	wall := s.d.o.Firewall
	if wall == nil { // nobody watches it here, which is no reason not to look
		wall = HostFirewall()
	}
	found, err := wall.Look(ctx)
	if err != nil {
		return g, err
	}
	g.Armed, g.Held, g.Why, g.Since = found.Armed, found.Held, found.Why, found.Since
	g.Mark, g.Allow, g.Uplinks = found.Mark, found.Allow, found.Uplinks
	if up, err := guard.Uplinks(); err == nil { // which it may not look at any more
		g.Uplinks = up
	}
	g.Refused = leaktest.Refused(found.Counters)
	return g, nil
}

// Stray has another program try to get past the guard.
func (subject) Stray(ctx context.Context, all []leaktest.Stray) ([]leaktest.Strayed, error) {
	return strays.Stray(ctx, all)
}
