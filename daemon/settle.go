package daemon

import (
	"errors"
	"sync"

	"watertight/config"
)

// settle tells the doors what a configuration that is now in force changes for them.
func (d *Daemon) settle(c *config.Config) {
	d.http.RoutesChanged()
	d.access.SetNames(c.Log.Names)
	if err := d.dns.Tell(c.DNS.IDServer, c.DNS.VersionBind); err != nil {
		d.o.Log.Error("what the DNS door tells of itself could not be changed", "error", err) // the configuration was checked
	}
	d.keeper.SetUserLimits(c.Limits.PerUser)
	d.transparent.SetConnections(c.Limits.Connections)
	d.guests.setConnections(c.Limits.Connections)
	d.guard.changed()
	err := errors.Join(
		d.port.SetLimits(c.Limits.Connections, c.Limits.Drain),
		d.gateway.SetLimits(c.Limits.Connections, c.Limits.Drain))
	if err != nil {
		d.o.Log.Error("the limits could not be changed", "error", err) // the configuration was checked: a fault of the program
	}
}

// drainDoors ends the doors for connections, which have their time at once and not one after the other.
func (d *Daemon) drainDoors() {
	var draining sync.WaitGroup
	draining.Go(d.gateway.Drain)
	draining.Go(d.guests.stop) // at once: their programs are to know
	draining.Go(func() { d.transparent.Drain(d.drainLimit()) })
	d.port.Drain()
	draining.Wait()
}
