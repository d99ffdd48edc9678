package canary

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"watertight/dnssec"
	"watertight/dnswire"
	"watertight/visit"
)

// TTLs in seconds.
const (
	ttlApex  = 3600 // of what seldom changes
	ttlVisit = 60   // of a visit's names, which are asked for once
	ttlShort = 1
	ttlNo    = 5 // of what is not there
)

// Types that package dnswire has no name for (their registry).
const (
	typeRRSIG  dnswire.Type = 46
	typeNSEC   dnswire.Type = 47
	typeNXNAME dnswire.Type = 128 // RFC 9824, section 2.2
)

// node is a name with the sets of records that it has, each of one type. kept says that they never change.
type node struct {
	sets [][]dnswire.Record
	kept bool
}

// of gives the set of a type, or nil.
func (n *node) of(t dnswire.Type) []dnswire.Record {
	for _, s := range n.sets {
		if s[0].Type == t {
			return s
		}
	}
	return nil
}

// types gives those that are there, with those that prove it, in order.
func (n *node) types() []dnswire.Type {
	list := []dnswire.Type{typeRRSIG, typeNSEC}
	for _, s := range n.sets {
		list = append(list, s[0].Type)
	}
	slices.Sort(list)
	return list
}

// add puts a set to those of the node, if there is anything in it.
func (n *node) add(set ...dnswire.Record) {
	if len(set) > 0 {
		n.sets = append(n.sets, set)
	}
}

// zone has the records of the canary's zone. Nothing of it changes.
type zone struct {
	name   string
	apex   *node
	own    map[string]*node // the apex, and the names of servers with what is between
	soa    []dnswire.Record
	noStar []dnswire.Record // the proof that there is no wildcard

	v4, v6  []netip.Addr
	service [3][]dnswire.Record // HTTPS, for addresses of both families, of IPv4 and of IPv6
	large   []string
	any     dnswire.Record // what ANY gets (RFC 8482, section 4.2)
}

// newZone makes the records of a zone.
func newZone(o *Options, key dnswire.Record) (*zone, error) {
	z := &zone{name: o.Zone, apex: &node{kept: true}, own: make(map[string]*node), large: largeTexts()}
	for _, a := range o.Addresses {
		if a.Is4() {
			z.v4 = append(z.v4, a)
		} else {
			z.v6 = append(z.v6, a)
		}
	}
	if o.Secure {
		for i, families := range [][2][]netip.Addr{{z.v4, z.v6}, {z.v4, nil}, {nil, z.v6}} {
			r, err := serviceRecord(z.name, families[0], families[1])
			if err != nil {
				return nil, err
			}
			z.service[i] = []dnswire.Record{r}
		}
	}
	soa, err := dnswire.ParseRecord(fmt.Sprintf("%s. %d SOA %s. hostmaster.%[1]s. 1 7200 3600 1209600 %[4]d", z.name, ttlApex, o.Servers[0].Name, ttlNo))
	if err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	z.soa = []dnswire.Record{soa}
	if z.any, err = dnswire.ParseRecord(z.name + `. HINFO "RFC8482" ""`); err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	// Both labels are in no name of the zone: nothing that exists is between them (RFC 4470, section 3).
	z.noStar = []dnswire.Record{dnswire.NSECRecord("!."+z.name, ttlNo, "+."+z.name, typeRRSIG, typeNSEC)}
	z.own[z.name] = z.apex
	z.apex.sets = append(z.apex.sets, z.soa, []dnswire.Record{key})
	z.addresses(z.apex, z.name, ttlApex, visit.Plain)
	return z, z.addServers(o.Servers)
}

// addServers puts in the NS records, and the addresses of the servers below the zone.
func (z *zone) addServers(servers []Server) error {
	var set []dnswire.Record
	for _, s := range servers {
		r, err := dnswire.ParseRecord(fmt.Sprintf("%s. %d NS %s.", z.name, ttlApex, s.Name))
		if err != nil {
			return fmt.Errorf("canary: %w", err)
		}
		set = append(set, r)
		if !under(s.Name, z.name) {
			continue
		}
		n := z.make(s.Name)
		for _, want4 := range []bool{true, false} {
			var addrs []dnswire.Record
			for _, a := range s.Addresses {
				if a.Is4() == want4 {
					addrs = append(addrs, dnswire.AddrRecord(s.Name, ttlApex, a))
				}
			}
			n.add(addrs...)
		}
	}
	z.apex.add(set...)
	return nil
}

// make gives the node of a name, and makes those between it and the apex: they are there too (RFC 4592, section 2.2.2).
func (z *zone) make(name string) *node {
	for at := name; at != z.name; _, at, _ = strings.Cut(at, ".") {
		if z.own[at] == nil {
			z.own[at] = &node{kept: true}
		}
	}
	return z.own[name]
}

// serviceRecord makes an HTTPS record (RFC 9460): TLS, HTTP/1.1, which needs no word, and where.
func serviceRecord(owner string, v4, v6 []netip.Addr) (dnswire.Record, error) {
	hint := func(key string, list []netip.Addr) string {
		if len(list) == 0 {
			return ""
		}
		var texts []string
		for _, a := range list {
			texts = append(texts, a.String())
		}
		return " " + key + "=" + strings.Join(texts, ",")
	}
	return dnswire.ParseRecord(fmt.Sprintf("%s. %d HTTPS 1 .%s%s", owner, ttlVisit, hint("ipv4hint", v4), hint("ipv6hint", v6)))
}

// addresses puts the addresses of the page to a node, as far as the branch has them, and the record that says how it is reached.
func (z *zone) addresses(n *node, name string, ttl uint32, branch visit.Branch) {
	family := 0
	if branch != visit.V6 {
		n.add(addrRecords(name, ttl, z.v4)...)
	} else {
		family = 2
	}
	if branch != visit.V4 {
		n.add(addrRecords(name, ttl, z.v6)...)
	} else {
		family = 1
	}
	if r := z.service[family]; r != nil {
		n.add(r[0].Named(name, ttl))
	}
}

func addrRecords(name string, ttl uint32, list []netip.Addr) []dnswire.Record {
	var out []dnswire.Record
	for _, a := range list {
		out = append(out, dnswire.AddrRecord(name, ttl, a))
	}
	return out
}

// visited makes the node of a visit's name.
func (z *zone) visited(name, label string, branch visit.Branch) *node {
	n, ttl := new(node), uint32(ttlVisit)
	if branch == visit.Short {
		ttl = ttlShort
	}
	z.addresses(n, name, ttl, branch)
	texts := []string{"watertight canary, visit " + label}
	if branch == visit.Large {
		texts = z.large
	}
	var set []dnswire.Record
	for _, text := range texts {
		set = append(set, dnswire.TXTRecord(name, ttl, text))
	}
	n.add(set...)
	return n
}

// whoami makes the node that tells an asker its address.
func (z *zone) whoami(name string, addr netip.Addr) *node {
	n := new(node)
	addr = addr.WithZone("")
	n.add(dnswire.AddrRecord(name, 0, addr))
	n.add(dnswire.TXTRecord(name, 0, addr.String()))
	return n
}

// largeTexts are what [visit.Large] has: some 3,000 octets with what is around them.
func largeTexts() []string {
	var out []string
	for i := range 12 {
		out = append(out, fmt.Sprintf("%02d %s", i, strings.Repeat("large ", 38)))
	}
	return out
}

// under says whether a name is below a zone, both canonical.
func under(name, zone string) bool {
	above, ok := strings.CutSuffix(name, "."+zone)
	return ok && above != "" && (len(above)-len(strings.TrimRight(above, `\`)))%2 == 0 // else the dot is in a label
}

// denial gives what proves that a name has no more than the types of n (RFC 9824, section 3.1; RFC 4470): the next name is
// the very next one that there can be.
func denial(name string, types []dnswire.Type) []dnswire.Record {
	return []dnswire.Record{dnswire.NSECRecord(name, ttlNo, `\000.`+name, types...)}
}

// absence gives what proves that the name of a visit in the branch that does not exist is not there, nor any below it: the names
// on both sides are of no visit (RFC 4470, section 3).
func (z *zone) absence(label string) []dnswire.Record {
	name := label + "-" + string(visit.Nxdomain)
	before := name[:len(name)-1] + string(name[len(name)-1]-1) + "~"
	return []dnswire.Record{dnswire.NSECRecord(before+"."+z.name, ttlNo, name+"!."+z.name, typeRRSIG, typeNSEC)}
}

// delegation gives the records that the zone above needs, in presentation form.
func (z *zone) delegation(servers []Server, s *dnssec.Signer) []string {
	var ns, glue []string
	for _, srv := range servers {
		ns = append(ns, fmt.Sprintf("%s. IN NS %s.", z.name, srv.Name))
		if !under(srv.Name, z.name) {
			continue
		}
		for _, a := range srv.Addresses {
			kind := "AAAA"
			if a.Is4() {
				kind = "A"
			}
			glue = append(glue, fmt.Sprintf("%s. IN %s %s", srv.Name, kind, a))
		}
	}
	return append(append(ns, glue...), s.DS())
}
