package daemon

import (
	"context"

	"watertight/leaktest/regular"
)

// tell notes that the service manager could not be told something.
func (d *Daemon) tell(err error) {
	if err != nil {
		d.o.Log.Warn("the service manager could not be told", "error", err)
	}
}

// announce says that the program is ready, once it is.
func (d *Daemon) announce(ctx context.Context) {
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
