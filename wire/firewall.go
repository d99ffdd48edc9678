package wire

import "errors"

// ErrNoFirewallWatch is returned where this system has no nf_tables to tell of.
var ErrNoFirewallWatch = errors.New("this system does not tell of changes of its firewall")
