package leaktest

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// OwnName is a name that the program itself has reason to look up, as its configuration has it.
type OwnName struct {
	Host string // in lower case, without a dot at its end
	Of   string // what it is, for people: the hop of a channel, a resolver, the webhook
	// Cause is that of a question for it in clear: A1 of a resolver, A5 of a hop, E1 of all else.
	Cause string
}

// ownName gives the name of the program's own that a sighting is about.
func (r *run) ownName(s Sighting) (OwnName, bool) {
	i := slices.IndexFunc(r.about.Names, func(n OwnName) bool { return s.What == "label" && n.Host == s.Label })
	if i < 0 {
		return OwnName{}, false
	}
	return r.about.Names[i], true
}

// strange says that this program asked a resolver in clear for what is neither a name of the test nor one that its configuration
// has, while nobody but the test used it: nothing of a client was to be asked.
func (r *run) strange(s Sighting) bool {
	return !r.about.Running && s.Ours && s.What == "dns" && !slices.Contains(plain, s.To.String())
}

// named says that the name in a question in clear is known, and so has a sighting of its own.
func (r *run) named(s Sighting) bool {
	return s.What != "label" && slices.ContainsFunc(r.observed.Sightings, func(other Sighting) bool {
		return other.What == "label" && other.From == s.From && other.To == s.To
	})
}

// proxiesIn gives the proxies that the variables of an environment lead to, as far as they are addresses.
func proxiesIn(environ []string) (all []netip.AddrPort) {
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if !slices.Contains(proxyVariables, name) {
			continue
		}
		if !strings.Contains(value, "://") {
			value = "http://" + value
		}
		u, err := url.Parse(value)
		if err != nil {
			continue
		}
		addr, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			continue
		}
		port := map[string]uint64{"https": 443, "http": 80}[strings.ToLower(u.Scheme)]
		if port == 0 {
			port = 1080
		}
		if p := u.Port(); p != "" {
			if port, err = strconv.ParseUint(p, 10, 16); err != nil {
				continue
			}
		}
		all = append(all, netip.AddrPortFrom(addr.Unmap(), uint16(port)))
	}
	return all
}

// ofEnvironment says that an address is a proxy of the program's own environment.
func (r *run) ofEnvironment(to netip.AddrPort) bool {
	return slices.Contains(proxiesIn(r.o.Own), netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
}
