package resolve

import (
	"fmt"
	"net/netip"
	"strings"

	"watertight/dnswire"
	"watertight/fault"
)

// localTTL is the TTL in seconds of what is answered here.
const localTTL = 300

// local is what is said about a special-use name without asking anybody.
type local struct {
	rcode   int
	records []dnswire.Record
	hint    string // what to do instead
}

const (
	hintLAN    = "names of a local network are not sent to a public resolver; use the host's address"
	hintSingle = "a name without a dot is never looked up; write the full name, such as host.example.com"
)

// nowhere are the suffixes under which nothing exists in the public DNS, so that asking for them only tells others
// what this network calls its hosts.
var nowhere = map[string]string{
	"invalid": "names under .invalid never exist (RFC 6761, section 6.4)",
	"test":    "names under .test are for local testing (RFC 6761, section 6.2)",
	"onion":   "names under .onion are for Tor alone (RFC 7686)",
	"alt":     "names under .alt are not in the DNS (RFC 9476)",
	"local":   hintLAN + " (RFC 6762)",

	// Names for private use that leak to the root (RFC 6762, appendix G; ICANN reserved internal in 2024).
	"internal": hintLAN,
	"intranet": hintLAN,
	"private":  hintLAN,
	"corp":     hintLAN,
	"home":     hintLAN,
	"lan":      hintLAN,
	"mail":     hintLAN, // never to be delegated, with corp and home (ICANN resolution 2018.02.04.12)
	// What many systems call themselves where nobody gave them a domain.
	"localdomain": hintLAN,
}

// arpa are the zones under arpa that are answered locally, by full name.
var arpa = map[string]string{
	"home.arpa":    hintLAN + " (RFC 8375)",
	"service.arpa": hintLAN + " (RFC 9665)",

	// Realms that are no names of hosts.
	"eap.arpa":      "names under eap.arpa are not looked up (RFC 9965)",
	"eap-noob.arpa": "names under eap-noob.arpa are not looked up (RFC 9140)",
	"6tisch.arpa":   "names under 6tisch.arpa are not looked up (RFC 9031)",
}

// special answers for names that must not leave the channel, nor this program (RFC 6761 and those that add to its
// registry). It says false for an ordinary name.
func special(q dnswire.Question) (local, bool) {
	i := strings.LastIndexByte(q.Name, '.')
	last := q.Name[i+1:]
	switch last {
	case "localhost": // RFC 6761, section 6.3
		return localhost(q), true
	case "arpa":
		return specialArpa(q)
	case "net":
		if isOrUnder(q.Name, "use-application-dns.net") {
			return local{rcode: dnswire.NXDomain, hint: "the answer keeps browsers from a resolver of their own"}, true
		}
		return local{}, false
	}
	if hint, ok := nowhere[last]; ok {
		return local{rcode: dnswire.NXDomain, hint: hint}, true
	}
	if i < 0 && q.Name != "" && !aboutZone(q.Type) {
		return local{rcode: dnswire.NXDomain, hint: hintSingle}, true
	}
	return local{}, false
}

// Forwardable says why a suffix cannot be sent to an upstream against the rule that its names are answered here, or
// nil. localhost and the like stay here whatever the configuration says, and so does what no resolver may serve: onion
// (RFC 7686, section 2) and invalid.
func Forwardable(suffix string) error {
	_, isNowhere := nowhere[suffix]
	_, isArpa := arpa[suffix]
	if !isNowhere && !isArpa || suffix == "onion" || suffix == "invalid" {
		return fmt.Errorf("%q is no special-use suffix that can be forwarded (such as test, internal or home.arpa)", suffix)
	}
	return nil
}

// Local gives the outcome for a host name that must not leave this program, also where an exit would resolve it: the
// fault, for nearly all of them. It gives nil for an ordinary name.
func Local(host string) error {
	q := dnswire.Question{Name: dnswire.CanonicalName(host), Type: dnswire.A}
	l, ok := special(q)
	if !ok {
		return nil
	}
	a, err := l.answer(q)
	if err != nil {
		return badQuestion(q, err)
	}
	if f := Verdict(a); f != nil {
		return f
	}
	return &fault.Error{
		Code: fault.PolicyPrivateTarget, Message: shown(q.Name) + " means this host, not one behind the exit",
		Hint: "take the name out of the request; add it to NO_PROXY",
	}
}

// LocalAnswer answers a question about a special-use name where no resolver is. It says false for an ordinary name.
func LocalAnswer(q dnswire.Question) (*dnswire.Answer, bool) {
	q.Name = dnswire.CanonicalName(q.Name)
	l, ok := special(q)
	if !ok {
		return nil, false
	}
	a, err := l.answer(q)
	return a, err == nil
}

// IsLocal says whether a question is answered here, so that no upstream need be ready for it.
func (r *Resolver) IsLocal(q dnswire.Question) bool {
	q.Name = dnswire.CanonicalName(q.Name)
	_, ok := special(q)
	return ok && !r.forwards(q.Name)
}

// forwards says whether the configuration wants the name's special-use suffix asked of the upstreams all the same.
func (r *Resolver) forwards(host string) bool {
	for _, suffix := range r.options.Forward {
		if isOrUnder(host, suffix) {
			return true
		}
	}
	return false
}

// aboutZone says whether a type is asked of a top-level domain as a zone, not of a host.
func aboutZone(t dnswire.Type) bool {
	return t == dnswire.NS || t == dnswire.SOA || t == dnswire.DS || t == dnswire.DNSKEY
}

func localhost(q dnswire.Question) local {
	switch q.Type {
	case dnswire.A:
		return local{records: []dnswire.Record{dnswire.AddrRecord(q.Name, localTTL, netip.AddrFrom4([4]byte{127, 0, 0, 1}))}}
	case dnswire.AAAA:
		return local{records: []dnswire.Record{dnswire.AddrRecord(q.Name, localTTL, netip.IPv6Loopback())}}
	}
	return local{}
}

func specialArpa(q dnswire.Question) (local, bool) {
	for zone, hint := range arpa {
		if isOrUnder(q.Name, zone) {
			return local{rcode: dnswire.NXDomain, hint: hint}, true
		}
	}
	switch {
	case isOrUnder(q.Name, "resolver.arpa"): // RFC 9462: nobody is discovered
		return local{hint: "resolvers are configured, never discovered"}, true
	case isOrUnder(q.Name, ipv4only):
		return specialIPv4Only(q), true
	}
	p, exact := dnswire.ParseReverse(q.Name)
	if exact && p.IsSingleIP() && (p.Addr() == ipv4onlyAddrs[0] || p.Addr() == ipv4onlyAddrs[1]) {
		if q.Type == dnswire.PTR {
			return local{records: []dnswire.Record{dnswire.PTRRecord(q.Name, localTTL, ipv4only)}}, true
		}
		return local{}, true
	}
	if !exact {
		if p, exact = reverseAbove(q.Name); !exact {
			return local{}, false
		}
	}
	for _, zone := range privateReverse {
		if zone.Bits() <= p.Bits() && zone.Contains(p.Addr()) {
			return local{rcode: dnswire.NXDomain, hint: "addresses for local use have no names in the public DNS (RFC 6303)"}, true
		}
	}
	return local{}, false
}

// reverseAbove gives the network of the reverse name nearest above a name. A zone is answered for as a whole: service
// discovery asks for names below an address, such as lb._dns-sd._udp.0.1.168.192.in-addr.arpa (RFC 6763, section 11).
func reverseAbove(host string) (netip.Prefix, bool) {
	for {
		_, rest, more := strings.Cut(host, ".")
		if !more {
			return netip.Prefix{}, false
		}
		if p, ok := dnswire.ParseReverse(rest); ok {
			return p, true
		}
		host = rest
	}
}

// ipv4only is answered as in a network without NAT64 (RFC 8880, section 7.1): the channel decides how an address is
// reached, not a prefix found in some network's answers.
const ipv4only = "ipv4only.arpa"

var ipv4onlyAddrs = [2]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 170}), netip.AddrFrom4([4]byte{192, 0, 0, 171})}

func specialIPv4Only(q dnswire.Question) local {
	if q.Name != ipv4only {
		return local{rcode: dnswire.NXDomain}
	}
	if q.Type != dnswire.A {
		return local{}
	}
	return local{records: []dnswire.Record{
		dnswire.AddrRecord(ipv4only, localTTL, ipv4onlyAddrs[0]),
		dnswire.AddrRecord(ipv4only, localTTL, ipv4onlyAddrs[1]),
	}}
}

// privateReverse are the networks whose reverse zones are answered locally: those of RFC 6303, section 4, the shared
// addresses of RFC 7793, and what RFC 6761, section 6.1, and RFC 6762, section 12, add.
var privateReverse = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
	"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "255.255.255.255/32", "100.64.0.0/10",
	"::/128", "::1/128", "fd00::/8", "fe80::/10", "2001:db8::/32",
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func isOrUnder(name, zone string) bool {
	rest, ok := strings.CutSuffix(name, zone)
	return ok && (rest == "" || rest[len(rest)-1] == '.')
}

// answer makes the local answer a message.
func (l local) answer(q dnswire.Question) (*dnswire.Answer, error) {
	p := dnswire.Reply{RCode: l.rcode, Answer: l.records}
	if l.hint != "" {
		p.EDE = []dnswire.EDE{{Code: edeSynthesized, Text: l.hint}}
	}
	return dnswire.Local(q, p)
}

// edeSynthesized marks an answer that was made here (RFC 8914 registry, code 29).
const edeSynthesized = 29
