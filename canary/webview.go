package canary

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"watertight/visit"
)

// Times of a page, from when it was opened.
const (
	patience  = 7 * time.Second  // after which what has not come is taken as not coming
	pageLimit = 12 * time.Second // after which the page no longer asks whether there is more
)

// mark says how something is, in words too.
type mark string

const (
	good    mark = "good"
	note    mark = "note"
	bad     mark = "bad"
	plain   mark = "plain" // neither well nor bad
	unknown mark = "unknown"
)

// iconOf is a sign for a mark: it differs by its form, not by its colour alone.
func iconOf(m mark) string {
	return map[mark]string{good: "✓", note: "!", bad: "✕", plain: "–", unknown: "…"}[m]
}

// view is what a page shows.
type view struct {
	Zone, Label string
	Version     string
	Probes      []string // addresses of pictures; none where the page was opened before
	Settled     bool     // nothing more is expected
	Known       bool     // something was seen
	Verdict     verdict
	Visitors    []party
	Resolvers   []resolverView
	Facts       []fact
	Cut         bool
	Port        uint16 // of STUN; 0: none
}

// party is an address that came, and whose it is.
type party struct {
	Address netip.Addr
	Network string // "AS64500 Example Net, DE"; empty: not known
	country string
	number  uint32
}

// Family is the family of its address.
func (p party) Family() string {
	if p.Address.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// resolverView is one address that asked.
type resolverView struct {
	party
	Asked   int
	Over    string // "UDP, TCP"
	Match   mark
	Words   string // of the match
	Details []string
	queries []visit.Query
}

// fact is one line of what else was learnt.
type fact struct {
	Name string
	Mark mark
	Text string
}

// view makes the view of a visit.
func (w *Web) view(label string, s *visit.Seen, known bool) *view {
	v := &view{Zone: w.o.Zone, Label: label, Version: w.o.Version, Known: known, Cut: s.Cut}
	var since time.Duration
	if len(s.Requests) > 0 {
		since = w.o.Now().Sub(begun(s, w.o.Zone))
	}
	v.Settled = !known || since >= pageLimit
	for i := range s.Requests {
		p := partyOf(s.Requests[i].From.Addr(), s.Requests[i].Network)
		if !slices.ContainsFunc(v.Visitors, func(q party) bool { return q.Address == p.Address }) {
			v.Visitors = append(v.Visitors, p)
		}
	}
	v.Resolvers = resolversOf(s, v.Visitors)
	over := since >= patience || !known
	v.Verdict = judge(v, over)
	v.Facts = factsOf(s, w.o.Addresses, w.o.Zone, over)
	return v
}

// begun is when the page of a visit was opened; where it was not, when somebody came first.
func begun(s *visit.Seen, zone string) time.Time {
	for i := range s.Requests {
		if s.Requests[i].Host == zone {
			return s.Requests[i].At
		}
	}
	return s.Requests[0].At
}

func partyOf(a netip.Addr, n *visit.Network) party {
	p := party{Address: a}
	if n == nil {
		return p
	}
	p.number, p.country = n.Number, n.Country
	var parts []string
	if n.Number != 0 {
		parts = append(parts, strings.TrimSpace("AS"+strconv.FormatUint(uint64(n.Number), 10)+" "+n.Name))
	} else if n.Name != "" {
		parts = append(parts, n.Name)
	}
	if n.Country != "" {
		parts = append(parts, n.Country)
	}
	p.Network = strings.Join(parts, ", ")
	return p
}

// resolversOf are those who asked, in the order of their first questions.
func resolversOf(s *visit.Seen, visitors []party) (all []resolverView) {
	for i := range s.Queries {
		q := s.Queries[i]
		at := slices.IndexFunc(all, func(r resolverView) bool { return r.Address == q.From.Addr() })
		if at < 0 {
			at = len(all)
			all = append(all, resolverView{party: partyOf(q.From.Addr(), q.Network)})
		}
		all[at].queries = append(all[at].queries, q)
	}
	for i := range all {
		all[i].complete(visitors)
	}
	return all
}

func (r *resolverView) complete(visitors []party) {
	r.Asked = len(r.queries)
	var over []string
	var do, cookie, mixed, plainEDNS bool
	var size uint16
	var subnets []string
	for _, q := range r.queries {
		if !slices.Contains(over, q.Over) {
			over = append(over, q.Over)
		}
		do, cookie, mixed = do || q.DNSSEC, cookie || q.Cookie, mixed || q.MixedCase
		plainEDNS = plainEDNS || q.Size == 0
		size = max(size, q.Size)
		if q.Subnet != "" && !slices.Contains(subnets, q.Subnet) {
			subnets = append(subnets, q.Subnet)
		}
	}
	r.Over = overText(over)
	r.Match, r.Words = match(r.party, visitors)
	add := func(is bool, text string) {
		if is {
			r.Details = append(r.Details, text)
		}
	}
	add(do, "asks for signatures (DO)")
	add(cookie, "sends cookies")
	add(mixed, "mixes letter case")
	add(size > 0, "takes answers of "+strconv.Itoa(int(size))+" octets")
	add(plainEDNS && size == 0, "knows no EDNS")
	add(len(subnets) > 0, "tells a client subnet: "+strings.Join(subnets, ", "))
}

func overText(over []string) string {
	names := map[string]string{"udp": "UDP", "tcp": "TCP", "tls": "TLS (encrypted)"}
	var texts []string
	for _, o := range over {
		texts = append(texts, names[o])
	}
	return strings.Join(texts, ", ")
}

// match compares who asked with who came.
func match(r party, visitors []party) (mark, string) {
	if len(visitors) == 0 {
		return unknown, "nobody has come yet to compare it with"
	}
	near := false
	for _, v := range visitors {
		switch {
		case v.Address == r.Address:
			return good, "the very address you come from"
		case r.number != 0 && r.number == v.number, vicinity(r.Address) == vicinity(v.Address):
			return good, "the network you come from"
		case r.country != "" && r.country == v.country:
			near = true
		}
	}
	switch {
	case near:
		return note, "another network, in your country"
	case r.country != "" && slices.ContainsFunc(visitors, func(v party) bool { return v.country != "" }):
		return bad, "another network, in another country"
	}
	return note, "not a neighbour of the address you come from"
}

// vicinity is what surely belongs to one holder: a /24 or a /48.
func vicinity(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
