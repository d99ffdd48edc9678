package leaktest

import (
	"context"
	"net"
	"net/netip"
	"sync"

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
	dead bool // it is its resolver alone that is cut off

	mu sync.Mutex
	in string // what was done to it
}

// now is what was done to the copy until now.
func (c *cutWay) now() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in
}

// becomes notes that something is done to it.
func (c *cutWay) becomes(in string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = in
}

// after is what goes wrong after that.
func (c *cutWay) after() window {
	if w := c.w.windows[c.now()]; w != nil && c.wrong() {
		return *w
	}
	return window{}
}

// CopyUnready gives a copy that is in the window of that name.
func (w *world) CopyUnready(_ context.Context, channel string, _ bool) (Copy, error) {
	return &cutWay{way: way{w, channel, "copy"}, in: "unready"}, nil
}

// wrong says that what is wrong with copies that are cut off is so with this one.
func (c *cutWay) wrong() bool { return c.w.cutOf == "" || c.w.cutOf == c.channel }

// refuses says that what was done to the copy leaves it nothing to answer with.
func (c *cutWay) refuses() bool { return c.now() == "unready" || c.now() == "retired" }

func (c *cutWay) Restore() { c.becomes("again"); c.by, c.cut = "again", false }
func (c *cutWay) Changed() { c.becomes("changed"); c.by = "changed" }
func (c *cutWay) Retire()  { c.becomes("retired") }

func (w *world) Copy(_ context.Context, channel string) (Copy, error) {
	return &cutWay{way: way{w, channel, "copy"}}, nil
}

func (w *world) CopyForResolver(_ context.Context, channel string) (Copy, error) {
	return &cutWay{way: way{w, channel, "copy"}, dead: true}, nil
}

func (c *cutWay) Exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, bool, error) {
	if c.cut && (c.dead && !c.w.deadAnswers || !c.dead && !(c.w.cutAnswers && c.wrong())) {
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
	case c.now() == "changed" && c.after().answers:
		return nil
	case c.now() != "":
		return append(c.after().tries, Attempt{To: netip.AddrPortFrom(exit, 1080), Named: true})
	}
	if c.dead {
		return c.w.deadTries
	}
	if !c.wrong() {
		return nil
	}
	return c.w.cutTries
}
func (c *cutWay) Close() {}
