package canary

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"watertight/visit"
)

// glimpse is what came of one branch of a visit.
type glimpse struct {
	asked, came bool
	from        netip.Addr // of the request
}

// look gives what came of a branch, of the names that have depth labels before that of the visit.
func look(s *visit.Seen, zone string, branch visit.Branch) (g glimpse) {
	is := func(name string) bool {
		label, b, depth, err := visit.Parse(name, zone)
		return err == nil && label == s.Label && b == branch && depth == 0
	}
	for i := range s.Queries {
		g.asked = g.asked || is(s.Queries[i].Name)
	}
	for i := range s.Requests {
		if is(s.Requests[i].Host) {
			g.came, g.from = true, s.Requests[i].From.Addr()
		}
	}
	return g
}

// factsOf is what else a visit shows. over says that what has not come by now is taken as not coming.
func factsOf(s *visit.Seen, addresses []netip.Addr, zone string, over bool) []fact {
	wait := func(name string) fact { return fact{name, unknown, "still waiting …"} }
	ordinary := look(s, zone, visit.Plain)
	return []fact{
		signatures(look(s, zone, visit.Bogus), ordinary, over, wait),
		subnets(s),
		family6(look(s, zone, visit.V6), addresses, over, wait),
		minimising(s, over, wait),
		mixing(s),
		secret(s),
		byTCP(s, zone, over, wait),
	}
}

func signatures(bogus, ordinary glimpse, over bool, wait func(string) fact) fact {
	const name = "DNSSEC"
	switch {
	case bogus.came:
		return fact{name, bad, "not validated: a name with forged signatures was believed. Whoever can change answers on their way to your resolver can send you anywhere."}
	case bogus.asked && ordinary.came && over:
		return fact{name, good, "validated: a name with forged signatures was refused."}
	case over:
		return fact{name, unknown, "not known: the name with forged signatures was not looked up, or nothing was fetched at all."}
	}
	return wait(name)
}

func subnets(s *visit.Seen) fact {
	const name = "Client subnet"
	var told []string
	for i := range s.Queries {
		p, err := netip.ParsePrefix(s.Queries[i].Subnet)
		if err == nil && p.Bits() > 0 && !slices.Contains(told, p.String()) {
			told = append(told, p.String())
		}
	}
	if len(told) > 0 {
		return fact{name, bad, "told: the resolver sends " + strings.Join(told, ", ") + " to the servers of every name that you look up, and that is a part of your address (ECS, RFC 7871)."}
	}
	if len(s.Queries) == 0 {
		return fact{name, unknown, "nothing has asked yet."}
	}
	return fact{name, good, "kept: no part of your address came with the questions."}
}

func family6(v6 glimpse, addresses []netip.Addr, over bool, wait func(string) fact) fact {
	const name = "IPv6"
	switch {
	case !slices.ContainsFunc(addresses, netip.Addr.Is6):
		return fact{name, unknown, "this canary has no IPv6 address to try."}
	case v6.came:
		return fact{name, good, "works: you came from " + v6.from.String() + "."}
	case over && v6.asked:
		return fact{name, plain, "a name that has only IPv6 addresses was looked up, and could not be reached. That is no leak."}
	case over:
		return fact{name, plain, "a name that has only IPv6 addresses was never looked up. That is no leak."}
	}
	return wait(name)
}

func minimising(s *visit.Seen, over bool, wait func(string) fact) fact {
	const name = "Minimised names"
	switch {
	case s.Minimised:
		return fact{name, good, "yes: the resolver tells each server only the part of a name that it needs (RFC 9156)."}
	case over && len(s.Queries) > 0:
		return fact{name, note, "not seen: servers above may be told whole names."}
	case over:
		return fact{name, unknown, "nothing has asked."}
	}
	return wait(name)
}

func mixing(s *visit.Seen) fact {
	const name = "Against forgery"
	var mixed, cookie bool
	for i := range s.Queries {
		mixed, cookie = mixed || s.Queries[i].MixedCase, cookie || s.Queries[i].Cookie
	}
	var how []string
	if mixed {
		how = append(how, "mixed letter case")
	}
	if cookie {
		how = append(how, "cookies (RFC 7873)")
	}
	switch {
	case len(how) > 0:
		return fact{name, good, "the resolver protects its questions by " + strings.Join(how, " and ") + "."}
	case len(s.Queries) == 0:
		return fact{name, unknown, "nothing has asked yet."}
	}
	return fact{name, note, "neither mixed letter case nor cookies were seen; random ports may be all that protects its questions."}
}

func secret(s *visit.Seen) fact {
	const name = "To the canary"
	n := 0
	for i := range s.Queries {
		if s.Queries[i].Over == "tls" {
			n++
		}
	}
	switch {
	case len(s.Queries) == 0:
		return fact{name, unknown, "nothing has asked yet."}
	case n == 0:
		return fact{name, plain, "in clear, as nearly all resolvers ask authoritative servers. How you ask your resolver cannot be seen from here."}
	}
	return fact{name, good, fmt.Sprintf("%d of %d questions came encrypted (DNS over TLS).", n, len(s.Queries))}
}

func byTCP(s *visit.Seen, zone string, over bool, wait func(string) fact) fact {
	const name = "Long answers"
	g := look(s, zone, visit.TCP)
	switch {
	case g.came:
		return fact{name, good, "work: a name that is answered over TCP alone was resolved."}
	case over && g.asked:
		return fact{name, bad, "fail: a name that is answered over TCP alone was looked up and not reached. Names with long answers will fail too."}
	case over:
		return fact{name, unknown, "not known: the name for it was not looked up."}
	}
	return wait(name)
}
