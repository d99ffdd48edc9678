package upstream

import (
	"net/netip"
	"slices"
	"strings"

	"watertight/name"
)

// Preset is a well-known public resolver whose addresses are compiled in, so that it needs no other resolver to be
// found.
type Preset struct {
	Name  string
	What  string // what it does about names, in a few words
	DoH   string // URL, empty where it is not served at Addrs
	DoT   string // host name
	Addrs []netip.Addr
	Docs  string // the operator's own page
}

// Presets gives every preset, alphabetically. The result is the caller's.
func Presets() []Preset {
	list := make([]Preset, len(presets))
	for i, p := range presets {
		p.Addrs = slices.Clone(p.Addrs)
		list[i] = p
	}
	return list
}

// KnownResolvers gives host names and addresses where encrypted DNS is known to be spoken: those of every preset, and
// the names of other public resolvers.
func KnownResolvers() (hosts []string, addrs []netip.Addr) {
	for _, p := range presets {
		for _, h := range p.hosts() {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
		addrs = append(addrs, p.Addrs...)
	}
	for _, h := range foreign {
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts, addrs
}

func (p Preset) hosts() []string {
	list := []string{p.DoT}
	if rest, ok := strings.CutPrefix(p.DoH, "https://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		if host != p.DoT {
			list = append(list, host)
		}
	}
	return list
}

// endpoint is DoH where the preset has it, and DoT otherwise.
func (p Preset) endpoint() (endpoint, error) {
	e := endpoint{kind: DoT, port: kinds[DoT].port, known: slices.Clone(p.Addrs)}
	if p.DoH == "" {
		h, err := name.ParseHost(p.DoT)
		e.host = h
		return e, err
	}
	parsed, err := parseURL(p.DoH, DoH)
	parsed.known = e.known
	return parsed, err
}

func presetByName(s string) (Preset, bool) {
	i := slices.IndexFunc(presets, func(p Preset) bool { return p.Name == s })
	if i < 0 {
		return Preset{}, false
	}
	return presets[i], true
}

// presetAddrs gives the addresses of the preset that has this host name.
func presetAddrs(host string) []netip.Addr {
	for _, p := range presets {
		if slices.Contains(p.hosts(), host) {
			return p.Addrs
		}
	}
	return nil
}

// presetNames lists the first n presets, or all.
func presetNames(n int) string {
	var names []string
	for _, p := range presets {
		names = append(names, p.Name)
	}
	if n > 0 {
		return "quad9, cloudflare, dns4eu, …"
	}
	return strings.Join(names, ", ")
}

// presetLike gives the preset whose name is at most two letters away from s, or "".
func presetLike(s string) string {
	best, at := "", 3
	for _, p := range presets {
		if d := distance(strings.ToLower(s), p.Name); d < at {
			best, at = p.Name, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

func ips(list ...string) []netip.Addr {
	addrs := make([]netip.Addr, len(list))
	for i, s := range list {
		addrs[i] = netip.MustParseAddr(s)
	}
	return addrs
}

// presets is alphabetical. Every entry is as its operator documents it at Docs; what an operator serves at other
// addresses than its DoT is left out.
var presets = []Preset{
	{
		"adguard", "blocks advertisements, trackers and phishing",
		"https://dns.adguard-dns.com/dns-query", "dns.adguard-dns.com",
		ips("94.140.14.14", "94.140.15.15", "2a10:50c0::ad1:ff", "2a10:50c0::ad2:ff"),
		"https://adguard-dns.io/en/public-dns.html",
	},
	{
		"adguard-unfiltered", "blocks nothing",
		"https://unfiltered.adguard-dns.com/dns-query", "unfiltered.adguard-dns.com",
		ips("94.140.14.140", "94.140.14.141", "2a10:50c0::1:ff", "2a10:50c0::2:ff"),
		"https://adguard-dns.io/en/public-dns.html",
	},
	{
		"cleanbrowsing-security", "blocks malware and phishing",
		"", "security-filter-dns.cleanbrowsing.org",
		ips("185.228.168.9", "185.228.169.9", "2a0d:2a00:1::2", "2a0d:2a00:2::2"),
		"https://cleanbrowsing.org/filters/",
	},
	{
		"cloudflare", "blocks nothing",
		"https://cloudflare-dns.com/dns-query", "one.one.one.one",
		ips("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"),
		"https://developers.cloudflare.com/1.1.1.1/encryption/",
	},
	{
		"cloudflare-family", "blocks malware and adult content",
		"https://family.cloudflare-dns.com/dns-query", "family.cloudflare-dns.com",
		ips("1.1.1.3", "1.0.0.3", "2606:4700:4700::1113", "2606:4700:4700::1003"),
		"https://developers.cloudflare.com/1.1.1.1/encryption/",
	},
	{
		"cloudflare-security", "blocks malware",
		"https://security.cloudflare-dns.com/dns-query", "security.cloudflare-dns.com",
		ips("1.1.1.2", "1.0.0.2", "2606:4700:4700::1112", "2606:4700:4700::1002"),
		"https://developers.cloudflare.com/1.1.1.1/encryption/",
	},
	{
		"controld-unfiltered", "blocks nothing",
		"https://freedns.controld.com/p0", "p0.freedns.controld.com",
		ips("76.76.2.11", "76.76.10.11", "2606:1a40::11", "2606:1a40:1::11"), // 76.76.2.0 answers plain DNS alone
		"https://docs.controld.com/docs/control-d-ip-ranges",
	},
	{
		"dns.sb", "blocks nothing",
		"", "dot.sb",
		ips("185.222.222.222", "45.11.45.11", "2a09::", "2a11::"),
		"https://dns.sb/dot/",
	},
	{
		"dns4eu", "blocks malware and phishing",
		"https://protective.joindns4.eu/dns-query", "protective.joindns4.eu",
		ips("86.54.11.1", "86.54.11.201", "2a13:1001::86:54:11:1", "2a13:1001::86:54:11:201"),
		"https://www.joindns4.eu/for-public",
	},
	{
		"dns4eu-unfiltered", "blocks nothing",
		"https://unfiltered.joindns4.eu/dns-query", "unfiltered.joindns4.eu",
		ips("86.54.11.100", "86.54.11.200", "2a13:1001::86:54:11:100", "2a13:1001::86:54:11:200"),
		"https://www.joindns4.eu/for-public",
	},
	{
		"google", "blocks nothing",
		"https://dns.google/dns-query", "dns.google",
		ips("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"),
		"https://developers.google.com/speed/public-dns/docs/doh",
	},
	{
		"mullvad", "blocked nothing; its operator ended the service on 2 November 2026",
		"https://dns.mullvad.net/dns-query", "dns.mullvad.net",
		ips("194.242.2.2", "2a07:e340::2"),
		"https://mullvad.net/en/help/dns-over-https-and-dns-over-tls",
	},
	{
		"quad9", "blocks malware and phishing",
		"https://dns.quad9.net/dns-query", "dns.quad9.net",
		ips("9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9"),
		"https://quad9.net/service/service-addresses-and-features/",
	},
	{
		"quad9-unfiltered", "blocks nothing",
		"https://dns10.quad9.net/dns-query", "dns10.quad9.net",
		ips("9.9.9.10", "149.112.112.10", "2620:fe::10", "2620:fe::fe:10"),
		"https://quad9.net/service/service-addresses-and-features/",
	},
	{
		"wikimedia", "blocks nothing",
		"https://wikimedia-dns.org/dns-query", "wikimedia-dns.org",
		ips("185.71.138.138", "2001:67c:930::1"),
		"https://meta.wikimedia.org/wiki/Wikimedia_DNS",
	},
}

// ended are the presets whose operator has ended the service, each with what became of it. Nothing is chosen in its
// place: a channel that has no other upstream does not become ready.
var ended = map[string]string{
	"mullvad": "Mullvad ended its public resolver on 2 November 2026, and itself names quad9 as the one to go to",
}

// Ended says what became of the preset of that name, where its operator has ended the service; otherwise it is empty.
func Ended(preset string) string { return ended[preset] }
