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
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

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
	// Secure says that the page is served over TLS too, at port 443, as HTTPS records tell (RFC 9460).
	Secure bool
	// Networks says whose an address is; [Nowhere] where there is no data.
	Networks Networks
	// Logger is told of faults of the program and of the host, never of names or addresses of visitors.
	Logger *slog.Logger
	// Now is the clock.
	Now func() time.Time
	// Version is the program's.
	Version string
}

// Validate says what is wrong with options.
func (o *Options) Validate() error {
	if err := checkZone(o.Zone); err != nil {
		return err
	}
	switch {
	case o.Log == nil || o.Networks == nil || o.Logger == nil || o.Now == nil:
		return errors.New("canary: a log, networks, a logger and a clock are needed")
	case len(o.Addresses) == 0:
		return errors.New("canary: the names of visits need an address to lead to")
	case len(o.Addresses) > maxAddresses:
		return fmt.Errorf("canary: more than %d addresses", maxAddresses)
	case len(o.Servers) == 0:
		return errors.New("canary: a zone needs a name server")
	case len(o.Servers) > maxServers:
		return fmt.Errorf("canary: more than %d name servers", maxServers)
	}
	for _, a := range o.Addresses {
		if err := checkAddress(a); err != nil {
			return err
		}
	}
	for i, s := range o.Servers {
		if slices.ContainsFunc(o.Servers[:i], func(t Server) bool { return t.Name == s.Name }) {
			return fmt.Errorf("canary: the name server %s is there twice", s.Name)
		}
		if err := s.validate(o.Zone); err != nil {
			return err
		}
	}
	return nil
}

// Limits of what is given to a canary: what it says of them has to fit into a datagram.
const (
	maxAddresses = 4
	maxServers   = 8
	maxZone      = 180 // octets: there is room for a visit's label and for minimised names below it
)

func checkZone(zone string) error {
	switch {
	case !isHost(zone) || len(zone) > maxZone:
		return fmt.Errorf("canary: the zone %q is not a name in lower case, without a dot at its end, of at most %d octets", zone, maxZone)
	case !strings.Contains(zone, "."):
		return fmt.Errorf("canary: the zone %q is one that the root alone delegates: take a name below your own, such as canary.example.net", zone)
	}
	return nil
}

// isHost says whether a name has labels of lower-case letters, digits and hyphens alone.
func isHost(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return len(name) <= 253
}

func checkAddress(a netip.Addr) error {
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return fmt.Errorf("canary: %v is not the address of a host", a)
	}
	return nil
}

// Server is one name server of the zone.
type Server struct {
	Name      string       // without a dot at its end; below the zone its addresses are glue
	Addresses []netip.Addr // none for a server outside the zone, which has them elsewhere
}

func (s Server) validate(zone string) error {
	below := under(s.Name, zone)
	switch {
	case !isHost(s.Name):
		return fmt.Errorf("canary: the name server %q is not a name in lower case, without a dot at its end", s.Name)
	case s.Name == zone:
		return fmt.Errorf("canary: the name server cannot have the zone's own name: call it ns1.%s", zone)
	case below && len(s.Addresses) == 0:
		return fmt.Errorf("canary: the name server %s is below the zone, and nobody finds it without its addresses", s.Name)
	case !below && len(s.Addresses) > 0:
		return fmt.Errorf("canary: the name server %s is not below the zone: its addresses are in the zone that it is in", s.Name)
	case len(s.Addresses) > maxAddresses:
		return fmt.Errorf("canary: the name server %s has more than %d addresses", s.Name, maxAddresses)
	}
	if below {
		last := s.Name[:len(s.Name)-len(zone)-1]
		last = last[strings.LastIndexByte(last, '.')+1:]
		if _, _, _, err := visit.Parse(last+"."+zone, zone); err == nil || last == visit.Whoami {
			return fmt.Errorf("canary: the name of the name server %s is a visitor's", s.Name)
		}
	}
	for _, a := range s.Addresses {
		if err := checkAddress(a); err != nil {
			return err
		}
	}
	return nil
}
