//go:build !linux

package wire

import "context"

// WatchFirewall is for Linux.
func WatchFirewall(context.Context, string, func()) error { return ErrNoFirewallWatch }
