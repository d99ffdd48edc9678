package daemon

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"watertight/config"
	"watertight/control"
	"watertight/leaktest"
	"watertight/leaktest/regular"
)

// ErrTestUnderWay is why there is no second test at the same time.
var ErrTestUnderWay = errors.New("a test is under way")

// passMore is for how long the test's pass is good beyond the test's own limit, by which it ends.
const passMore = time.Minute

// TestRequest is what is asked of a test.
type TestRequest struct {
	Only    []string // the IDs of cases; empty: all of them
	Trigger string   // what it is for
	// Control says that the host's own resolver is asked for a name of the canary, so that a leak is seen on purpose.
	Control  bool
	Progress func(leaktest.Progress) // nil: nobody wants to know
	PCAP     io.Writer               // nil: nobody wants the packets
	Environ  []string                // nil: that of clients is not known
}

// LeakTest tests the program as it runs. One test runs at a time: the error for another is [ErrTestUnderWay].
func (d *Daemon) LeakTest(ctx context.Context, ask TestRequest) (*leaktest.Report, error) {
	if !d.testing.TryLock() {
		return nil, ErrTestUnderWay
	}
	defer d.testing.Unlock()
	d.tests.underWay.Store(true)
	defer d.tests.underWay.Store(false)
	defer d.tests.clients.forget()
	g := d.current()
	if g == nil {
		return nil, errors.New("the program is not running yet")
	}
	limit := cmp.Or(g.config.LeakTest.Limit, config.DefaultTestLimit)
	pass, err := d.keeper.NewPass(limit + passMore)
	if err != nil {
		return nil, err
	}
	defer pass.End()
	o := leaktest.Options{
		Subject: subject{d, d.o.Control, pass}, Observer: d.o.Observer, Only: ask.Only, Trigger: ask.Trigger,
		Progress: ask.Progress, PCAP: ask.PCAP, Environ: ask.Environ, Own: d.o.Environ, Limit: limit,
	}
	if ask.Control {
		o.Control = d.o.AskHost
	}
	if c := g.config.LeakTest.Canary; c.Zone != "" {
		o.Canary = &leaktest.Canary{Zone: c.Zone, API: c.API, Channel: c.Channel, Roots: c.CAs}
	}
	return leaktest.Run(ctx, o)
}

var _ control.Tester = (*Daemon)(nil)

// Test is LeakTest for whoever asks by the control socket, who waits for the end of a test that is under way. The environment is not this process's to read: clients have another.
func (d *Daemon) Test(ctx context.Context, t control.Test) (*leaktest.Report, error) {
	report, err := d.inTurn(ctx, TestRequest{Only: t.Only, Trigger: string(regular.Asked), Control: t.Control, Progress: t.Progress, PCAP: t.PCAP})
	if err == nil && len(t.Only) == 0 { // a part shows a part
		d.concluded(context.WithoutCancel(ctx), outcomeOf(report, regular.Asked))
	}
	return report, err
}
