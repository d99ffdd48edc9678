// Package traffic has the rules on what running programs do at this moment: sockets that lead past the proxy, and on the firewall that
// should keep them from it.
//
// The kernel's tables of sockets are read, and no packet. So it is a look at one moment: what was closed is not seen, and
// what a program asks within a millisecond rarely is. Where the firewall hands over what programs send, a socket's far side
// is what the program wanted and not where its packets go, and sockets are not judged. Where the kernel tracks connections there is a little
// more: what was asked within the last minutes, and where it went.
package traffic

import "watertight/doctor"

// Rules gives the rules, in the order of their listing.
func Rules() []doctor.Rule {
	return []doctor.Rule{
		dnsDirectLive,
		clientDirect,
		killSwitch,
	}
}
