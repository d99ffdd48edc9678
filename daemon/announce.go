package daemon

import (
	"context"
	"strings"
	"time"

	"watertight/leaktest/regular"
)

// tell notes that the service manager could not be told something.
func (d *Daemon) tell(err error) {
	if err != nil {
		d.o.Log.Warn("the service manager could not be told", "error", err)
	}
}

// lateReady is from when on a start that is not ready is told with its reasons: a resolver that answers is heard sooner.
const lateReady = 3 * time.Second

// announce says that the program is ready, once it is, and why it is not, once, where that takes long.
func (d *Daemon) announce(ctx context.Context) {
	late := time.AfterFunc(lateReady, func() {
		if ready, why := d.current().ready(); !ready && ctx.Err() == nil {
			d.o.Log.Warn("not ready yet: what needs these channels is refused until their resolvers have answered", "reasons", strings.Join(why, "; "))
		}
	})
	defer late.Stop()
	for !d.current().await(ctx) {
		if ctx.Err() != nil {
			return
		}
	}
	d.o.Log.Info("ready: the resolver of every channel has answered")
	d.o.Ready()
	d.tests.schedule.Changed(regular.Start)
	d.announced.Store(true)
	d.tell(d.manager.Ready("ready"))
}
