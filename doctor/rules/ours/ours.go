// Package ours has the rules on Watertight itself, on what a running one counted, on other resolvers and wrappers whose
// own look-ups go around it, and on what every encrypted connection needs: the time and the authorities.
package ours

import (
	"watertight/doctor"
)

// Rules gives the rules, in the order of their listing.
func Rules() []doctor.Rule {
	return []doctor.Rule{
		clientResolved, selfResolve, upstreamBootstrap, upstreamLocalResolve, fakeIP127, timeSkew, caBundle, version,
	}
}
