//go:build !linux

package cli

import "watertight/doctor"

// firewall has nothing to ask here.
func firewall() (*doctor.Firewall, string) { return nil, "" }
