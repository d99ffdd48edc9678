//go:build !linux

package daemon

import "watertight/control"

// guests are the contained programs that a daemon carries: none, where there is no Linux.
type guests struct{}

func newGuests(int) *guests { return &guests{} }

func (*guests) stop() {}

func (*guests) setConnections(int) {}

func (*guests) open() (connections int64, dropped uint64) { return 0, 0 }

func (*Daemon) guestStatus() *control.ContainedPrograms { return nil }
