package transparent

import (
	"net/netip"
	"slices"

	"watertight/fault"
	"watertight/hello"
	"watertight/name"
	"watertight/route"
)

// target says which target a client means that wanted an address.
func (d *Door) target(from, to netip.AddrPort, said hello.Said, state hello.State) (name.Target, error) {
	if d.o.Own(from, to) {
		d.o.Logger.Warn("the firewall hands this program its own connections: exempt them by user or by mark, see docs/transparent.md")
		return name.Target{}, fault.New(fault.PolicyPrivateTarget, "the connection is this program's own", nil)
	}
	given := d.o.Dialer.GivenFor(from.Addr(), to.Addr())
	if state != hello.Named {
		said = hello.Said{Hidden: said.Hidden}
	}
	host, err := choose(given, said, d.o.Dialer.Leads)
	if err != nil {
		return name.Target{}, err
	}
	if !host.IsValid() {
		t, err := name.FromAddrPort(to)
		if err != nil {
			return t, fault.New(fault.BadRequest, "the address is not valid", err)
		}
		return t, nil
	}
	t, err := name.New(host, to.Port())
	if err != nil {
		return t, fault.New(fault.BadRequest, "the target is not valid", err)
	}
	return t, nil
}

// choose decides which host is meant by a client that wanted an address, from the names that the address was given out
// for, the latest last, and the name that the client says. leads gives the channel to a host. The zero Host is the address
// itself.
//
//   - The name that the client says is it, if the address was given out for it, among others or alone.
//   - It is it too where the address was given out for other names, or for none: the client did not have this address for
//     this name from us, which makes the request one of policy.client_resolved. The address is not used; the name is
//     resolved in its own channel.
//   - But where the hello is encrypted, the name may be a cover, or none at all. Then the latest name that the address was given
//     out for is it, if the name that is said, and all that it was given out for, lead to one channel.
//   - Where the client says nothing, the latest name that the address was given out for is it, if all lead to one channel,
//     and without any the address is.
//
// What would be a guess between channels is refused: the one would carry what belongs to the other.
func choose(given []route.Given, said hello.Said, leads func(name.Host) string) (name.Host, error) {
	named := said.Host.IsValid()
	if named && slices.ContainsFunc(given, func(g route.Given) bool { return g.Host == said.Host }) {
		return said.Host, nil
	}
	if named && (!said.Hidden || len(given) == 0) {
		return said.Host, nil
	}
	if len(given) == 0 {
		return name.Host{}, nil
	}
	latest := given[len(given)-1]
	one := !slices.ContainsFunc(given, func(g route.Given) bool { return g.Channel != latest.Channel })
	if !one || named && leads(said.Host) != latest.Channel {
		return name.Host{}, fault.New(fault.PolicyRoute, "the address belongs to names of several channels, and the client does not say which it means", nil)
	}
	return latest.Host, nil
}
