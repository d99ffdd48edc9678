package transparent

import (
	"net/netip"
	"slices"

	"watertight/fault"
	"watertight/hello"
	"watertight/name"
	"watertight/route"
)

// known says whether the target of a client that wanted an address is known before it says anything, and sets it: that is the
// name which the address stands for, or the address itself where it will be refused whatever is said.
func (d *Door) known(r *route.Request, to netip.AddrPort) (known bool, err error) {
	if d.o.Own(r.Client, to) {
		d.o.Logger.Warn("the firewall hands this program its own connections: exempt them by user or by mark, see docs/transparent.md")
		return false, fault.New(fault.PolicyPrivateTarget, "the connection is this program's own", nil)
	}
	host, stands := d.o.Stands(to.Addr())
	switch {
	case stands && !host.IsValid():
		return false, fault.New(fault.PolicyClientResolved, "the address stands for no name that was asked for here", nil)
	case stands:
		r.Original = netip.Addr{} // it is no address of the network
		r.Target, err = name.New(host, to.Port())
	case len(d.o.Dialer.GivenFor(r.Client.Addr(), to.Addr())) == 0 && d.o.Dialer.RefusesUngiven(r.Door):
		r.Target, err = name.FromAddrPort(to)
	default:
		return false, nil
	}
	if err != nil {
		return false, fault.New(fault.BadRequest, "the target is not valid", err)
	}
	return true, nil
}

// target says which target a client means that wanted an address.
func (d *Door) target(from, to netip.AddrPort, said hello.Said, state hello.State) (name.Target, error) {
	given := d.o.Dialer.GivenFor(from.Addr(), to.Addr())
	if state != hello.Named {
		said = hello.Said{Hidden: said.Hidden}
	}
	host, err := choose(to.Addr(), given, said, d.o.Dialer.Leads)
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
// for, and the name that the client says. leads gives the channel to a host. The zero Host is the address itself.
//
//   - The name that the client says is it, if the address was given out for it, among others or alone.
//   - It is it too where the address was given out for other names, or for none: the client did not have this address for
//     this name from us, which makes the request one of policy.client_resolved. The address is not used; the name is
//     resolved in its own channel.
//   - But where the hello is encrypted, the name may be a cover, or none at all. Then it is as if nothing was said, if the
//     name leads to the channel of those that the address was given out for.
//   - Where the client says nothing, the one name that the address was given out for is it, and without any the address is.
//     Of several none is picked: whoever makes a client look up a name of his own that has the address of another's would
//     have his picked, and could change where it leads. The address is it, if it and all the names lead to one channel.
//
// What would be a guess between channels is refused: the one would carry what belongs to the other.
func choose(to netip.Addr, given []route.Given, said hello.Said, leads func(name.Host) string) (name.Host, error) {
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
	channel := given[0].Channel
	one := !slices.ContainsFunc(given, func(g route.Given) bool { return g.Channel != channel })
	if one && named {
		one = leads(said.Host) == channel
	}
	if one && len(given) == 1 {
		return given[0].Host, nil
	}
	if at, err := name.FromAddr(to); one && err == nil && leads(at) == channel {
		return name.Host{}, nil
	}
	return name.Host{}, fault.New(fault.PolicyRoute, "the address belongs to several names, whose channel is not its own, and the client does not say which it means", nil)
}
