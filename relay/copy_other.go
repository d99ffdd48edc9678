//go:build !linux

package relay

import "net"

// socket is nothing where the system has no splice.
type socket struct{}

func (f *flow) carry() error { return f.copyAll() }

// watch is nothing where a wait does not tell an end from a reset.
func (f *flow) watch() {}

func taken(net.Conn) bool { return false }
