package config

import (
	"strconv"
	"time"

	"watertight/hop"
	"watertight/resolve"
	"watertight/wireguard"
)

// channelKeys are those of the ways out and their resolvers.
var channelKeys = []Key{
	{Path: "channels", form: formNames, Doc: "The channels by name. `direct` always exists."},
	{Path: "channels.*", form: formMap, Doc: "A way out together with its resolver."},
	{
		Path: "channels.*.over", form: formText, Default: DirectName,
		Doc: "The channel underneath: it carries the first hop and resolves its name.",
	},
	{
		Path: "channels.*.proxy", form: formText, list: true, orMap: true,
		Doc: "The upstream proxy: a URL with the scheme socks5, socks4a, http, or https, h2, h3 and socks5+tls over TLS. A list is a chain, first hop first.",
	},
	{Path: "channels.*.proxy.url", form: formText, Doc: "The proxy, where more is said of it."},
	{
		Path: "channels.*.proxy.template", form: formText,
		Doc: "The provider by whose template the user and password of the URL, those of the account, are written for each client.",
	},
	{
		Path: "channels.*.proxy.pool", form: formText, list: true, orMap: true,
		Doc: "Proxies, of which each connection takes one: URLs, or maps where one has to prove something else than the others.",
	},
	{Path: "channels.*.proxy.pool.url", form: formText, Doc: "The member."},
	{Path: "channels.*.proxy.pool.ca", form: formText, Doc: "As `ca` of a proxy, for this member."},
	{Path: "channels.*.proxy.pool.pins", form: formText, list: true, Doc: "As `pins` of a proxy, for this member."},
	{Path: "channels.*.proxy.pool.name", form: formText, Doc: "As `name` of a proxy, for this member."},
	{Path: "channels.*.proxy.pool.cert", form: formText, Doc: "As `cert` of a proxy, for this member."},
	{Path: "channels.*.proxy.pool.key", form: formText, Doc: "As `key` of a proxy, for this member."},
	{Path: "channels.*.proxy.list", form: formText, Doc: "A file with more of them, one a line: HOST:PORT, HOST:PORT:USER:PASSWORD, or a URL. It may change in place."},
	{
		Path: "channels.*.proxy.scheme", form: formChoice, choices: hop.Schemes(),
		Doc: "What the proxies of `list` speak whose lines do not say it.",
	},
	{
		Path: "channels.*.proxy.pick", form: formChoice, choices: []string{"round_robin", "random", "least_used", "lowest_latency"}, Default: string(DefaultPick),
		Doc: "Which member of the pool takes a connection.",
	},
	{
		Path: "channels.*.proxy.sticky", form: formChoice, choices: stickyWords, orMap: true,
		Doc: "What stays with one member of the pool.",
	},
	{Path: "channels.*.proxy.sticky.by", form: formChoice, choices: stickyWords, Doc: "A user, a user's session, a client's address, or a target."},
	{
		Path: "channels.*.proxy.sticky.for", form: formPeriod, min: 1, max: 7 * 86_400, Default: short(DefaultSticky),
		Doc: "For how long, from when the member was picked.",
	},
	{Path: "channels.*.proxy.health", form: formMap, Doc: "Try the members that nobody uses, through the channel itself. Not done unless written."},
	{Path: "channels.*.proxy.health.every", form: formPeriod, min: 1, max: 86_400, Doc: "How often."},
	{
		Path: "channels.*.proxy.health.timeout", form: formPeriod, min: 1, max: 60, Default: short(DefaultHealthTimeout),
		Doc: "How long a member may take to open a connection.",
	},
	{Path: "channels.*.proxy.ca", form: formText, Doc: "A PEM file with the only authorities that may certify a proxy over TLS; of a pool, every member over TLS. So it is with the next four."},
	{
		Path: "channels.*.proxy.pins", form: formText, list: true,
		Doc: "SHA-256 digests, in base64, of the public keys (SPKI) that a proxy over TLS may have; one must match on every connection.",
	},
	{Path: "channels.*.proxy.name", form: formText, Doc: "The name in the proxy's certificate, where it is not the host of the URL."},
	{Path: "channels.*.proxy.cert", form: formText, Doc: "A PEM file: the certificate, with its chain, that is shown to a proxy over TLS which asks for one."},
	{Path: "channels.*.proxy.key", form: formText, Doc: "A PEM file: the key of that certificate."},
	{Path: "channels.*.wireguard", form: formMap, Doc: "A WireGuard tunnel, in user space, that is the way out in place of a proxy."},
	{Path: "channels.*.wireguard.private_key_file", form: formText, Doc: "A file with the private key of this end, as `wg genkey` prints it. Read again at every reload."},
	{Path: "channels.*.wireguard.address", form: formText, list: true, Doc: "The address of this end inside the tunnel, or one of each family."},
	{
		Path: "channels.*.wireguard.dns_over_tunnel", form: formBool, Default: "false",
		Doc: "true: this channel's resolver may be a server of plain DNS inside the tunnel, udp://ADDRESS[:PORT]. Whoever runs the tunnel sees the names.",
	},
	{
		Path: "channels.*.wireguard.mtu", form: formInt, min: wireguard.MinMTU, max: wireguard.MaxMTU, Default: strconv.Itoa(wireguard.DefaultMTU),
		Doc: "Octets of the longest packet inside the tunnel: at least 1280 with an IPv6 address.",
	},
	{Path: "channels.*.wireguard.peers", form: formMap, list: true, Doc: "The far ends. What an address is sent to is decided by the longest of their networks that it is in."},
	{Path: "channels.*.wireguard.peers.public_key", form: formText, Doc: "The peer's public key."},
	{Path: "channels.*.wireguard.peers.preshared_key_file", form: formText, Doc: "A file with a key that only the two ends know, as `wg genpsk` prints it."},
	{Path: "channels.*.wireguard.peers.endpoint", form: formText, Doc: "HOST:PORT where the peer is. The channel underneath looks a name up, again whenever the peer does not answer."},
	{Path: "channels.*.wireguard.peers.allowed_ips", form: formText, list: true, Doc: "The networks behind the peer. An address in none of any peer is refused."},
	{
		Path: "channels.*.wireguard.peers.keepalive", form: formPeriod, min: 0, max: int64(wireguard.MaxKeepalive / time.Second), Default: "0s",
		Doc: "How often the peer hears of this end, whole seconds; 0s: only with traffic. 25s keeps most translators of addresses open.",
	},
	{
		Path: "channels.*.resolve", form: formChoice, choices: []string{"here", "exit"}, Default: "here",
		Doc: "here: names go to this channel's resolver, through the proxy. exit: the last proxy gets the name.",
	},
	{Path: "channels.*.resolver", form: formMap, Doc: "The channel's encrypted resolver."},
	{
		Path: "channels.*.resolver.upstreams", form: formText, list: true, orMap: true, Default: "[" + DefaultUpstream + "]",
		Doc: "The servers asked, in order of preference: a preset, https://HOST[:PORT]/PATH, h3:// the same, tls://HOST[:PORT], quic://HOST[:PORT] or a DNS stamp, sdns://. The default is for `direct` only.",
	},
	{Path: "channels.*.resolver.upstreams.url", form: formText, Doc: "The server: a preset, https://HOST[:PORT]/PATH, h3:// the same, tls://HOST[:PORT], quic://HOST[:PORT] or a DNS stamp, sdns://."},
	{Path: "channels.*.resolver.upstreams.addresses", form: formText, list: true, Doc: "The server's IP addresses: no look-up is made to find them."},
	{
		Path: "channels.*.resolver.upstreams.pins", form: formText, list: true,
		Doc: "SHA-256 digests, in base64, of the public keys (SPKI) that the server may have; one must match on every connection.",
	},
	{Path: "channels.*.resolver.upstreams.ca", form: formText, Doc: "A PEM file with the only authorities that may certify the server."},
	{Path: "channels.*.resolver.upstreams.relay", form: formText, Doc: "The stamp of a relay, through which everything goes to a server of DNSCrypt or to a target of ODoH."},
	{Path: "channels.*.resolver.upstreams.name", form: formText, Doc: "The name in the server's certificate, where it is not the host of the URL."},
	{Path: "channels.*.resolver.upstreams.ech", form: formText, Doc: "Base64 of the ECHConfigList (RFC 9849) that every connection to the server is made with, and none without."},
	{
		Path: "channels.*.resolver.addresses", form: formNames,
		Doc: "IP addresses by host name, for the upstreams whose URL has a name.",
	},
	{Path: "channels.*.resolver.addresses.*", form: formText, list: true, Doc: "The IP addresses of that host."},
	{
		Path: "channels.*.resolver.forward", form: formText, list: true,
		Doc: "Special-use suffixes, such as test or home.arpa, whose names are asked of the upstreams and not answered by the proxy itself.",
	},
	{
		Path: "channels.*.resolver.strategy", form: formChoice, choices: []string{"order", "random"}, orMap: true, Default: "order",
		Doc: "order: the first upstream that can be reached is asked, and no other sees the name. random: one of them, which chance gives to each name. {race: N}: the first N at once.",
	},
	{
		Path: "channels.*.resolver.strategy.race", form: formInt, min: 2, max: maxUpstreams,
		Doc: "How many upstreams are asked at once, so that they all see the name; the first answer is taken.",
	},
	{
		Path: "channels.*.resolver.dnssec", form: formChoice, choices: []string{"off", "validate", "require-secure"}, Default: "off",
		Doc: "off: the resolver is believed. validate: answers are checked here against the signatures of their owners, down from the root. require-secure: what its owner does not sign is refused too.",
	},
	{
		Path: "channels.*.resolver.trust_anchors", form: formText, list: true,
		Doc: "The root's keys to begin with, as DS or DNSKEY records, in place of those that the program comes with.",
	},
	{
		Path: "channels.*.resolver.negative_anchors", form: formText, list: true,
		Doc: "Names that are not validated, with all below them (RFC 7646).",
	},
	{
		Path: "channels.*.resolver.timeout", form: formPeriod, min: 1, max: 60, Default: DefaultResolverTimeout.String(),
		Doc: "How long one look-up may take, all upstreams together.",
	},
	{Path: "channels.*.resolver.cache", form: formMap, Doc: "The channel's own cache."},
	{
		Path: "channels.*.resolver.cache.size", form: formInt, min: 0, max: 65_536, Default: strconv.Itoa(DefaultCacheSize),
		Doc: "How many MiB of memory it may take; 0 keeps no answers, only failures.",
	},
	{
		Path: "channels.*.resolver.cache.stale", form: formPeriod, min: 0, max: int64(resolve.MaxStale / time.Second), Default: "0s",
		Doc: "For how long an answer that has expired may stand in where no upstream gives another (RFC 8767); 0s: never.",
	},
	{
		Path: "channels.*.resolver.cache.prefetch", form: formBool, Default: "true",
		Doc: "Ask again for what is asked for often, shortly before it expires.",
	},
}
