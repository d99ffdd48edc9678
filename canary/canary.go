// Package canary is a site by which people and programs test themselves for leaks: an authoritative name server for a zone
// of its own, whose names say by how they are asked for who resolved them, and a web page and an API that tell.
//
// It promises that what it holds has a limit, whatever comes, and that it forgets what it has seen after an hour; that no
// answer over UDP to an address that was not proven is much larger than the question; and that it logs no address and no
// name. It keeps nothing on disk but its signing key.
//
// It asks nobody anything: it resolves nothing, dials nothing, and serves the sockets that it is given. Nothing runs but
// within the Serve and Run methods, and nothing outlives them.
package canary

import (
	"log/slog"
	"net/netip"

	"watertight/visit"
)

// Networks says to whom an address belongs, as far as it was given the data; nil where it does not know. It waits for
// nothing, and may be called from many goroutines.
type Networks interface {
	Network(addr netip.Addr) *visit.Network
}

// Nowhere are the Networks of who has no data.
type Nowhere struct{}

// Network knows nothing.
func (Nowhere) Network(netip.Addr) *visit.Network { return nil }

// Options are what a canary is made of: its name server and its web page share them.
type Options struct {
	// Zone is the zone that is delegated to the canary, without a dot at its end. It is in lower case.
	Zone string
	// Addresses are those of the web page, which the names of visits lead to.
	Addresses []netip.Addr
	// Servers are the names of the zone's name servers with their addresses, as the zone above has them too.
	Servers []Server
	// Log has what was seen.
	Log *Log
	// Networks says whose an address is; [Nowhere] where there is no data.
	Networks Networks
	// Logger is told of faults of the program and of the host, never of names or addresses of visitors.
	Logger *slog.Logger
}

// Server is one name server of the zone.
type Server struct {
	Name      string       // without a dot at its end; below the zone its addresses are glue
	Addresses []netip.Addr // none for a server outside the zone, which has them elsewhere
}
