package channel

import (
	"context"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/resolve"
)

// Times of getting ready.
const (
	readyWait  = 5 * time.Second // how long a request waits for a channel that is not ready yet
	askWait    = 3 * time.Second // and a question: whoever asks by DNS gives up after five seconds (resolv.conf(5)), and reads no reason then
	probeFirst = 250 * time.Millisecond
	probeMost  = 15 * time.Second
)

// Run runs the channel, and every partition of it that is made, until ctx ends. It gives ctx's error.
func (c *Channel) Run(ctx context.Context) error {
	if c.parts != nil {
		c.startTunnel()
		c.parts.begin(ctx)
		defer c.parts.close()
		defer c.runPool(ctx)()
	}
	return c.run(ctx)
}

// run asks the resolver once, again and again with growing pauses, until it has answered, authenticated; then it
// connects to the others that will be asked, and waits for ctx. It gives ctx's error.
func (c *Channel) run(ctx context.Context) error {
	if c.unfit != nil {
		c.markReady() // to refuse
		<-ctx.Done()
		return ctx.Err()
	}
	pause := probeFirst
	for !c.Ready() {
		err := c.resolver.Probe(ctx)
		if err == nil {
			c.markReady()
			break
		}
		c.mu.Lock()
		c.notReady = err
		c.mu.Unlock()
		c.markTried()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, probeMost)
	}
	if c.resolver != nil {
		c.resolver.Warm(ctx)
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c *Channel) markReady() {
	c.readyOnce.Do(func() { close(c.ready) })
	c.markTried()
}

func (c *Channel) markTried() { c.triedOnce.Do(func() { close(c.tried) }) }

// Ready says whether the resolver has answered once, authenticated.
func (c *Channel) Ready() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// WhyNotReady gives the last probe's error, or nil.
func (c *Channel) WhyNotReady() error {
	if c.Ready() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.notReady
}

// Await is closed when the channel is ready.
func (c *Channel) Await() <-chan struct{} { return c.ready }

// readyFor waits a little for a channel that is not ready yet, unless the question is answered without its upstreams. The
// error is a [*fault.Error] with NOT_READY.
func (c *Channel) readyFor(ctx context.Context, q dnswire.Question, wait time.Duration) error {
	if c.Ready() || c.resolver.IsLocal(q) {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-c.ready:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return c.notReadyFault()
}

// unresolved is the fault of a name for which the time runs out.
func (c *Channel) unresolved() error {
	if !c.Ready() {
		return c.notReadyFault()
	}
	return fault.New(fault.DNSTimeout, "the name was not resolved in time", context.DeadlineExceeded)
}

func (c *Channel) notReadyFault() *fault.Error {
	cause := c.WhyNotReady()
	message := "channel " + c.spec.Name + " is not ready: its resolver has not answered"
	f := &fault.Error{Code: fault.NotReady, Message: message, Channel: c.spec.Name, Err: cause}
	if cause != nil {
		why := fault.Of(cause)
		f.Message = "channel " + c.spec.Name + " is not ready: " + why.Message
		f.Hint = why.NextStep()
	}
	return f
}

// Settle waits until the resolver was asked for the first time, and gives the fault if it has not answered since: as
// it is, for one who asks once and will not come back. The error is a [*fault.Error].
func (c *Channel) Settle(ctx context.Context) error {
	select {
	case <-c.tried:
	case <-ctx.Done():
		return c.notReadyFault()
	}
	if why := c.WhyNotReady(); why != nil {
		return fault.Of(why)
	}
	return nil
}

// IsLocal says whether a question is answered without the resolver's upstreams.
func (c *Channel) IsLocal(q dnswire.Question) bool {
	if c.resolver == nil {
		_, ok := resolve.LocalAnswer(q)
		return ok
	}
	return c.resolver.IsLocal(q)
}
