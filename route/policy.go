package route

import (
	"fmt"
	"net/netip"

	"watertight/channel"
	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

// Mode is what a policy does with what it is about.
type Mode string

// The modes. The zero Mode is not valid: a policy is always written out.
const (
	Refuse Mode = "refuse"
	Report Mode = "report"
	Allow  Mode = "allow"
)

// Policy is what may leave. See the section `policy` of the configuration.
type Policy struct {
	PlainHTTP        Mode // Refuse or Allow
	ForeignResolvers Mode // Refuse or Allow
	PrivateTargets   Mode // Refuse or Allow
	// PrivateAllowed are networks that may be reached though PrivateTargets refuses.
	PrivateAllowed []netip.Prefix
	ClientResolved Mode // Refuse, Report or Allow
	// Contained is ClientResolved for the doors of contained programs.
	Contained Mode
	// ResolverNames are hosts known to be encrypted resolvers; ResolverAddrs their addresses.
	ResolverNames []string
	ResolverAddrs []netip.Addr
}

// Sealed is the policy of an empty configuration.
func Sealed() Policy {
	return Policy{PlainHTTP: Refuse, ForeignResolvers: Refuse, PrivateTargets: Refuse, ClientResolved: Report, Contained: Refuse}
}

func (p Policy) validate() error {
	for _, m := range []struct {
		key    string
		mode   Mode
		report bool
	}{
		{"plain_http", p.PlainHTTP, false},
		{"foreign_resolvers", p.ForeignResolvers, false},
		{"private_targets", p.PrivateTargets, false},
		{"client_resolved", p.ClientResolved, true},
		{"client_resolved of contained programs", p.Contained, true},
	} {
		if m.mode != Refuse && m.mode != Allow && (m.mode != Report || !m.report) {
			return fmt.Errorf("route: policy %s cannot be %q", m.key, m.mode)
		}
	}
	return nil
}

// Ports with a meaning for the policy.
const (
	portHTTP = 80
	portDoT  = 853  // DNS over TLS (RFC 7858) and over QUIC (RFC 9250)
	portDoQ  = 8853 // DNS over QUIC before it had a number
)

// plainDNS are the ports on which names travel in clear: DNS, NetBIOS names, multicast DNS, LLMNR.
var plainDNS = map[uint16]bool{53: true, 137: true, 5353: true, 5355: true}

// refuse says why a request may not be sent at all, or nil. It looks nothing up.
func (t *Table) refuse(r Request, clientResolved bool) error {
	host, port := r.Target.Host(), r.Target.Port()
	if r.Door != event.DoorResolve {
		if plainDNS[port] {
			f := fault.New(fault.PolicyForeignResolver,
				fmt.Sprintf("port %d carries names in clear text, which is always refused", port), nil)
			f.Hint = "let Watertight resolve names; no setting lets them through in clear text"
			return f
		}
		if t.policy.PlainHTTP == Refuse && (r.PlainHTTP || port == portHTTP) {
			return fault.New(fault.PolicyPlainHTTP, "an http:// request would leave in clear text", nil)
		}
		if t.policy.ForeignResolvers == Refuse {
			if f := t.foreignResolver(host, port); f != nil {
				return f
			}
		}
	}
	if addr, ok := host.Addr(); ok {
		if err := t.check(r.Target)(addr); err != nil {
			return err
		}
	}
	if clientResolved && t.RefusesUngiven(r.Door) {
		f := fault.New(fault.PolicyClientResolved, "the client asked for an address that our resolver never gave out", nil)
		if contained(r.Door) {
			f.Hint = "the program has the address from elsewhere, or written down: have it use the name, or set `exec.client_resolved`"
		}
		return f
	}
	return nil
}

// RefusesUngiven says whether a door refuses what is asked for by an address that our resolver never gave out.
func (t *Table) RefusesUngiven(door event.Door) bool {
	if contained(door) {
		return t.policy.Contained == Refuse
	}
	return t.policy.ClientResolved == Refuse
}

// contained says whether a door is that of contained programs.
func contained(door event.Door) bool { return door == event.DoorExec || door == event.DoorExecUDP }

func (t *Table) foreignResolver(host name.Host, port uint16) error {
	if port == portDoT || port == portDoQ {
		return fault.New(fault.PolicyForeignResolver,
			fmt.Sprintf("port %d belongs to a resolver of the client's own", port), nil)
	}
	for _, n := range t.policy.ResolverNames {
		if host.Under(n) {
			return fault.New(fault.PolicyForeignResolver, n+" is a resolver of the client's own", nil)
		}
	}
	return nil
}

// isOwn says whether a socket address is one of the program's own listeners. One that listens on every address is
// found on loopback.
func (t *Table) isOwn(a netip.Addr, port uint16) bool {
	if t.own[netip.AddrPortFrom(a, port)] {
		return true
	}
	every := t.own[netip.AddrPortFrom(netip.IPv4Unspecified(), port)] || t.own[netip.AddrPortFrom(netip.IPv6Unspecified(), port)]
	return every && (a.IsLoopback() || a.IsUnspecified())
}

// check is the policy on addresses: it is asked about each address before it is dialled, and what it was asked about
// is what is dialled.
func (t *Table) check(target name.Target) channel.Check {
	return func(a netip.Addr) error {
		a = a.Unmap()
		if t.isOwn(inner(a), target.Port()) {
			return &fault.Error{
				Code: fault.PolicyPrivateTarget, Message: "the target is this proxy itself",
				Hint: "take the proxy's own address out of the request; add it to NO_PROXY",
			}
		}
		if t.policy.ForeignResolvers == Refuse && target.Port() == 443 {
			for _, r := range t.policy.ResolverAddrs {
				if r == inner(a) {
					return fault.New(fault.PolicyForeignResolver, a.String()+" is a resolver of the client's own", nil)
				}
			}
		}
		if t.policy.PrivateTargets == Allow {
			return nil
		}
		kind := special(a)
		if kind == "" {
			return nil
		}
		for _, p := range t.policy.PrivateAllowed {
			if p.Contains(a) {
				return nil
			}
		}
		message := fmt.Sprintf("%s is %s", a, kind)
		if _, named := target.Host().Name(); named {
			message = fmt.Sprintf("%s has the address %s, which is %s", target.Host(), a, kind)
		}
		return fault.New(fault.PolicyPrivateTarget, message, nil)
	}
}

// oneReceiver is check for datagrams, which an address of many would take too: it is refused even where private targets
// are allowed, so that nobody's one datagram becomes many.
func oneReceiver(check channel.Check) channel.Check {
	return func(a netip.Addr) error {
		if b := inner(a); b.IsMulticast() || b == broadcast {
			return fault.New(fault.PolicyPrivateTarget, a.String()+" is an address of many hosts, and datagrams go to one", nil)
		}
		return check(a)
	}
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
