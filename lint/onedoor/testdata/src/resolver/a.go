// Package resolver looks names up in every way that is forbidden, and parses addresses as it should.
package resolver

import (
	"context"
	"net"
	"net/netip"
	"os/user"

	"golang.zx2c4.com/wireguard/tun/netstack" // want `import "golang.zx2c4.com/wireguard/tun/netstack": it looks names up by itself`
)

var _ netstack.Net

type embedded struct {
	*net.Resolver // want `net.Resolver: a name is resolved inside the channel`
}

type alias = net.Resolver // want `net.Resolver: `

func forbidden(ctx context.Context, e embedded) {
	_, _ = net.LookupHost("name.example")                                // want `net.LookupHost: a name is resolved inside the channel that will carry its traffic, or not at all; use the channel's Lookup or Dial; .*\(onedoor: resolver\)`
	_, _ = net.LookupIP("name.example")                                  // want `net.LookupIP: `
	_, _ = net.LookupAddr("192.0.2.1")                                   // want `net.LookupAddr: `
	_, _ = net.LookupTXT("name.example")                                 // want `net.LookupTXT: `
	_, _, _ = net.LookupSRV("", "", "name.example")                      // want `net.LookupSRV: `
	_, _ = net.LookupPort("tcp", "domain")                               // want `net.LookupPort: `
	_, _ = net.ResolveTCPAddr("tcp", "192.0.2.1:1")                      // want `net.ResolveTCPAddr: `
	_, _ = net.ResolveUDPAddr("udp", "192.0.2.1:1")                      // want `net.ResolveUDPAddr: `
	_, _ = net.ResolveIPAddr("ip", "192.0.2.1")                          // want `net.ResolveIPAddr: `
	_, _ = net.DefaultResolver.LookupHost(ctx, "name.example")           // want `net.DefaultResolver: ` `net.Resolver.LookupHost: `
	_, _ = e.LookupNetIP(ctx, "ip", "name.example")                      // want `net.Resolver.LookupNetIP: `
	_, _ = new(net.Resolver).LookupCNAME(ctx, "name.example")            // want `net.Resolver: ` `net.Resolver.LookupCNAME: `
	_ = net.LookupHost                                                   // want `net.LookupHost: `
	_ = (*net.Resolver).LookupHost                                       // want `net.Resolver: ` `net.Resolver.LookupHost: `
	_ = e.LookupHost                                                     // want `net.Resolver.LookupHost: `
	_, _ = user.Current()                                                // want `user.Current: with cgo it asks the host's name services`
	for _, f := range []func(string) ([]string, error){net.LookupHost} { // want `net.LookupHost: `
		_, _ = f("name.example")
	}
}

type lookalike struct{}

func (lookalike) LookupHost(string) {}

func allowed(s interface{ LookupHost(string) }) {
	s.LookupHost("name.example")
	lookalike{}.LookupHost("name.example")
	_, _ = netip.ParseAddr("192.0.2.1")
	_, _ = net.ResolveUnixAddr("unix", "/run/x.sock")
	_, _, _ = net.SplitHostPort("name.example:1")
	_ = net.ParseIP("192.0.2.1")
	_ = &net.DNSError{}
}
