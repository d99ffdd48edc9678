package leaktest

import (
	"context"
	"net"
	"net/netip"

	"watertight/dnswire"
	"watertight/fault"
)

// window is what goes wrong with a copy after something was done to it.
type window struct {
	answers  bool      // where it must refuse, or from what it knew before
	connects bool      // where it must refuse
	tries    []Attempt // besides
	lost     bool      // it does not come back
}

// cutWay is a copy of a channel.
type cutWay struct {
	way
	cut  bool
	dead bool   // it is its resolver alone that is cut off
	in   string // what was done to it
}

// after is what goes wrong after that.
func (c *cutWay) after() window {
	if w := c.w.windows[c.in]; w != nil {
		return *w
	}
	return window{}
}

// CopyUnready gives a copy that is in the window of that name.
func (w *world) CopyUnready(_ context.Context, channel string, _ bool) (Copy, error) {
	return &cutWay{way: way{w, channel, "copy"}, in: "unready"}, nil
}

// refuses says that what was done to the copy leaves it nothing to answer with.
func (c *cutWay) refuses() bool { return c.in == "unready" || c.in == "retired" }

func (c *cutWay) Restore() { c.in, c.by, c.cut = "again", "again", false }
func (c *cutWay) Changed() { c.in, c.by = "changed", "changed" }
func (c *cutWay) Retire()  { c.in = "retired" }

func (w *world) Copy(_ context.Context, channel string) (Copy, error) {
	return &cutWay{way: way{w, channel, "copy"}}, nil
}

func (w *world) CopyForResolver(_ context.Context, channel string) (Copy, error) {
	return &cutWay{way: way{w, channel, "copy"}, dead: true}, nil
}

func (c *cutWay) Exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, bool, error) {
	if c.cut && (c.dead && !c.w.deadAnswers || !c.dead && !c.w.cutAnswers) {
		return nil, false, fault.New(fault.ResolverUnreachable, "it cannot be reached", nil)
	}
	if c.refuses() && !c.after().answers || c.after().lost {
		return nil, false, fault.New(fault.NotReady, "its resolver has not answered", nil)
	}
	return c.way.Exchange(ctx, q)
}

func (c *cutWay) Connect(ctx context.Context, host string, port uint16) (net.Conn, error) {
	if c.cut || c.refuses() && !c.after().connects {
		return nil, fault.New(fault.ResolverUnreachable, "it cannot be reached", nil)
	}
	return c.way.Connect(ctx, host, port)
}
func (c *cutWay) Ready() error { return nil }
func (c *cutWay) Cut(bool)     { c.cut = true }
func (c *cutWay) Tried() []Attempt {
	switch {
	case c.in == "changed" && c.after().answers:
		return nil
	case c.in != "":
		return append(c.after().tries, Attempt{netip.AddrPortFrom(nearby, 853), true})
	}
	if c.dead {
		return c.w.deadTries
	}
	return c.w.cutTries
}
func (c *cutWay) Close() {}
