package daemon

import (
	"context"

	"watertight/guard"
	"watertight/wire"
)

// HostFirewall is the guard of this host.
func HostFirewall() Firewall { return hostFirewall{guard.New(guard.Options{})} }

type hostFirewall struct{ *guard.Guard }

// guardTable is the name of the guard's tables.
const guardTable = "watertight_guard"

// Watch calls changed when somebody has changed the guard's tables.
func (hostFirewall) Watch(ctx context.Context, changed func()) error {
	return wire.WatchFirewall(ctx, guardTable, changed)
}
