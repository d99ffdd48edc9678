// Package env has the rules on environment variables: what shells, services and running programs are told of the proxy.
//
// The rules look at every environment of the host: that of who asks, those that profiles and units set up, and those of
// running programs. Our own program obeys no such variable and is left out.
package env

import "watertight/doctor"

// Rules gives the rules, in the order of their listing.
func Rules() []doctor.Rule {
	return []doctor.Rule{
		socks5Local,
	}
}

