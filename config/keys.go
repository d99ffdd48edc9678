package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"watertight/acme"
	"watertight/hop"
	"watertight/resolve"
	"watertight/wireguard"
)

// form is what may stand as the value of a key.
type form int

const (
	formMap    form = iota // a map with the keys below it in the table
	formNames              // a map whose keys the user chooses
	formText               // a string, in which references to secrets are filled in
	formBool               // true or false
	formInt                // a whole number from Min to Max
	formPeriod             // a duration such as 30s, from Min to Max seconds
	formChoice             // one of Choices
)

// Key describes one key of the file. The loader, the schema and the test of the reference read the same table.
type Key struct {
	// Path is the way from the root, joined by dots; a star stands for a name that the user chooses.
	Path string
	Doc  string // one sentence
	// Default is the value, as YAML, that stands for the key when it is not written; empty where nothing does.
	Default string

	form    form
	list    bool // a list of it may stand there too
	orMap   bool // a map with the keys below may stand there too
	orText  bool // a choice may be a list of other texts instead
	choices []string
	min     int64
	max     int64
}

// Keys are all keys of this version, each after the one it stands in.
var Keys = []Key{
	{Path: "listen", form: formMap, Doc: "Where the program listens."},
	{
		Path: "listen.proxy", form: formText, list: true, orMap: true, Default: DefaultListen,
		Doc: "The mixed port: HTTP CONNECT, plain HTTP, SOCKS4a and SOCKS5 on one socket, told apart by the first byte.",
	},
	{Path: "listen.proxy.address", form: formText, Doc: "IP:PORT to listen on."},
	{
		Path: "listen.proxy.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without TLS and users.",
	},
	{Path: "listen.proxy.tls", form: formMap, Doc: "TLS 1.3 at the port, with HTTP/2 for clients that ask for it."},
	{Path: "listen.proxy.tls.cert", form: formText, Doc: "A PEM file: the certificate with its chain. Read again when it changes."},
	{Path: "listen.proxy.tls.key", form: formText, Doc: "A PEM file: the certificate's key."},
	{
		Path: "listen.proxy.tls.acme", form: formText, list: true,
		Doc: "Names for which a certificate is obtained by ACME, in place of `cert` and `key`: see `acme`.",
	},
	{
		Path: "listen.proxy.tls.client_ca", form: formText,
		Doc: "A PEM file: who issues certificates to clients. Each client has to show one, whose common name is its user.",
	},
	{
		Path: "listen.proxy.users", form: formText,
		Doc: "A file of `watertight user`: who may come in, by password. Read again at every reload.",
	},
	{
		Path: "listen.proxy.h3", form: formBool, Default: "false",
		Doc: "HTTP/3 too, on the UDP port of the same number. It needs `tls`.",
	},
	{
		Path: "listen.proxy.proxy_protocol", form: formText, list: true,
		Doc: "The networks of balancers that say by the PROXY protocol, version 1 or 2, where each client is; they have to.",
	},
	{Path: "listen.proxy.token_key", form: formText, Doc: "The file with the key of `watertight user token`: a token is taken in place of a password."},
	{
		Path: "listen.admin", form: formText, list: true, orMap: true,
		Doc: "Health, readiness, metrics and status over HTTP. Not served unless written.",
	},
	{
		Path: "listen.dns", form: formText, list: true, orMap: true,
		Doc: "DNS for programs that resolve by themselves; each name takes the channel that `routes` gives it. Not served unless written.",
	},
	{Path: "listen.dns.address", form: formText, Doc: "IP:PORT for UDP and TCP, tls://IP:PORT, quic://IP:PORT, or https://IP:PORT/dns-query."},
	{Path: "listen.dns.tls", form: formMap, Doc: "The certificate of an address that begins with tls://, quic:// or https://."},
	{Path: "listen.dns.tls.cert", form: formText, Doc: "A PEM file: the certificate with its chain. Read again when it changes."},
	{Path: "listen.dns.tls.key", form: formText, Doc: "A PEM file: the certificate's key."},
	{
		Path: "listen.dns.tls.acme", form: formText, list: true,
		Doc: "Names for which a certificate is obtained by ACME, in place of `cert` and `key`: see `acme`.",
	},
	{
		Path: "listen.dns.tls.client_ca", form: formText,
		Doc: "A PEM file: who issues certificates to clients. Each client has to show one, and may come from any address.",
	},
	{
		Path: "listen.dns.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without client certificates; only private networks are answered.",
	},
	{
		Path: "listen.gateway", form: formText, list: true, orMap: true,
		Doc: "The gateway, for programs that take a base URL and no proxy: HTTP/1.1 and HTTP/2, in clear text or over TLS. Not served unless written.",
	},
	{Path: "listen.gateway.address", form: formText, Doc: "IP:PORT to listen on."},
	{
		Path: "listen.gateway.hosts", form: formText, list: true,
		Doc: "Names by which clients call it, as HOST or HOST:PORT, beside its address and localhost; by any other it is not served.",
	},
	{
		Path: "listen.gateway.origins", form: formText, list: true,
		Doc: "Web pages that may use it, as https://HOST[:PORT]; those of other sites are refused.",
	},
	{Path: "listen.gateway.tls", form: formMap, Doc: "TLS 1.3 at the gateway."},
	{Path: "listen.gateway.tls.cert", form: formText, Doc: "A PEM file: the certificate with its chain. Read again when it changes."},
	{Path: "listen.gateway.tls.key", form: formText, Doc: "A PEM file: the certificate's key."},
	{
		Path: "listen.gateway.tls.acme", form: formText, list: true,
		Doc: "Names for which a certificate is obtained by ACME, in place of `cert` and `key`: see `acme`.",
	},
	{
		Path: "listen.gateway.tls.client_ca", form: formText,
		Doc: "A PEM file: who issues certificates to clients. Each client has to show one, whose common name is its user.",
	},
	{
		Path: "listen.gateway.users", form: formText,
		Doc: "A file of `watertight user`: who may come in, by password or token. Read again at every reload.",
	},
	{Path: "listen.gateway.token_key", form: formText, Doc: "The file with the key of `watertight user token`: a token is taken in place of a password."},
	{
		Path: "listen.gateway.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without TLS and users.",
	},
	{Path: "listen.admin.address", form: formText, Doc: "IP:PORT to listen on."},
	{Path: "listen.admin.tls", form: formMap, Doc: "TLS 1.3 at the port."},
	{Path: "listen.admin.tls.cert", form: formText, Doc: "A PEM file: the certificate with its chain. Read again when it changes."},
	{Path: "listen.admin.tls.key", form: formText, Doc: "A PEM file: the certificate's key."},
	{
		Path: "listen.admin.tls.acme", form: formText, list: true,
		Doc: "Names for which a certificate is obtained by ACME, in place of `cert` and `key`: see `acme`.",
	},
	{
		Path: "listen.admin.tls.client_ca", form: formText,
		Doc: "A PEM file: who issues certificates to clients. Each client has to show one.",
	},
	{
		Path: "listen.admin.users", form: formText,
		Doc: "A file of `watertight user`: who may read it, by HTTP's Basic authentication. Read again at every reload.",
	},
	{Path: "listen.admin.token_key", form: formText, Doc: "The file with the key of `watertight user token`: a token is taken in place of a password."},
	{
		Path: "listen.admin.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without TLS and users.",
	},

	{
		Path: "listen.transparent", form: formText, list: true, orMap: true,
		Doc: "Connections and datagrams that the firewall of Linux hands over, of programs that know of no proxy. Not served unless written.",
	},
	{Path: "listen.transparent.address", form: formText, Doc: "IP:PORT that the firewall hands them to."},
	{
		Path: "listen.transparent.mode", form: formChoice, choices: []string{ModeRedirect, ModeTPROXY}, Default: ModeRedirect,
		Doc: "How the firewall does that: by nft's redirect, or by its tproxy, which needs CAP_NET_ADMIN.",
	},
	{Path: "listen.transparent.udp", form: formBool, Default: "false", Doc: "Datagrams too, with mode tproxy."},
	{
		Path: "listen.transparent.mark", form: formInt, min: 1, max: 1<<31 - 1,
		Doc: "A mark on every packet that the program sends, so that the firewall can leave those alone. It needs CAP_NET_ADMIN.",
	},
	{
		Path: "listen.transparent.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without TLS and users.",
	},

	{Path: "dns", form: formMap, Doc: "What the DNS door tells of itself."},
	{
		Path: "dns.id_server", form: formText,
		Doc: "The answer to id.server and hostname.bind in class CHAOS, up to 255 octets. Refused unless written.",
	},
	{
		Path: "dns.version_bind", form: formText,
		Doc: "The answer to version.bind and version.server in class CHAOS, up to 255 octets. Refused unless written.",
	},

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

	{Path: "routes", form: formMap, list: true, Doc: "Which target takes which channel; the first that matches decides."},
	{
		Path: "routes.to", form: formText, list: true,
		Doc: "What it is for: `*`, a name, `*.suffix` (below it), `.suffix` (it and below), an IP address, a network.",
	},
	{
		Path: "routes.user", form: formText, list: true,
		Doc: "Whom the route is for: a user, or `team-*` for all whose name begins so. Everyone unless written.",
	},
	{Path: "routes.channel", form: formText, Doc: "The channel that takes it, or `refuse`."},
	{Path: "routes.country", form: formText, Doc: "Two letters: where the exit is to be. The channel's proxy has to have a template that says so."},
	{Path: "routes.session", form: formText, Doc: "A session that all of it shares, for each user; or per_request: one for each connection."},

	{Path: "gateway", form: formMap, list: true, Doc: "Where the gateway's paths lead; the longest path that a request is below decides."},
	{Path: "gateway.path", form: formText, Doc: "The path of the gateway, such as /openai/."},
	{Path: "gateway.to", form: formText, Doc: "The origin, as https://HOST[:PORT]/PATH/; what follows `path` is put behind it."},
	{
		Path: "gateway.hosts", form: formText, list: true,
		Doc: "In place of `path` and `to`: hosts that are reached as /https/HOST[:PORT]/PATH, each a name, `*.suffix`, `.suffix`, an IP address or a network.",
	},
	{Path: "gateway.channel", form: formText, Doc: "The channel that takes the requests, whatever the routes. Without it the routes decide."},
	{Path: "gateway.user", form: formText, Doc: "Whom the requests are for, as a user name of the proxy port with its labels."},
	{Path: "gateway.headers", form: formNames, Doc: "Fields that every request gets, in place of what the client sent."},
	{Path: "gateway.headers.*", form: formText, Doc: "The value of that field; a secret is read with ${file:PATH} or ${env:NAME}."},
	{
		Path: "gateway.http3", form: formChoice, choices: []string{HTTP3Auto, HTTP3Off}, Default: HTTP3Auto,
		Doc: "HTTP/3 to the origin: where it offers it and the channel carries datagrams, or never.",
	},
	{Path: "gateway.ca", form: formText, Doc: "A PEM file with the only authorities that may certify the origin."},

	{Path: "leaktest", form: formMap, Doc: "The leak test of the running proxy, by itself. Not done unless written."},
	{
		Path: "leaktest.every", form: formPeriod, min: 0, max: 7 * 86_400, Default: short(DefaultTestEvery),
		Doc: "How often, give or take a tenth; at least 1m. 0s: not by the clock.",
	},
	{
		Path: "leaktest.on_change", form: formBool, Default: "true",
		Doc: "Test when the network, the configuration, /etc/resolv.conf or /etc/nsswitch.conf has changed, and after a sleep.",
	},
	{
		Path: "leaktest.on_leak", form: formChoice, choices: []string{OnLeakReport, OnLeakClose}, Default: OnLeakReport,
		Doc: "report: a leak is told. close: nothing goes out by any channel from then on, until a test is clean or `watertight test accept`.",
	},
	{
		Path: "leaktest.limit", form: formPeriod, min: 10, max: 3600, Default: short(DefaultTestLimit),
		Doc: "How long one test may take.",
	},
	{Path: "leaktest.canary", form: formMap, Doc: "The canary that sees who asks for names of the test. Without one the cases that need it are skipped."},
	{Path: "leaktest.canary.zone", form: formText, Doc: "The zone of the canary, such as canary.example.net."},
	{Path: "leaktest.canary.api", form: formText, Doc: "The https:// URL of its API."},
	{Path: "leaktest.canary.channel", form: formText, Doc: "The channel by which the API is asked, and no other."},
	{Path: "leaktest.canary.ca", form: formText, Doc: "A PEM file with the only authorities that may certify the API. Without it they are those whom the system trusts."},
	{
		Path: "leaktest.history", form: formText,
		Doc: "The file in which the outcomes are kept, or none. Without the key it is leaktest.db in the directory of `state`.",
	},
	{
		Path: "leaktest.keep", form: formInt, min: 1, max: 100_000, Default: strconv.Itoa(DefaultTestKeep),
		Doc: "How many outcomes are kept; all of them take 64 MiB at most.",
	},
	{Path: "leaktest.webhook", form: formMap, Doc: "Who is told of outcomes by an HTTP request (POST, JSON). Nobody unless written."},
	{Path: "leaktest.webhook.url", form: formText, Doc: "The https:// URL."},
	{Path: "leaktest.webhook.channel", form: formText, Doc: "The channel by which it is reached, and no other."},
	{
		Path: "leaktest.webhook.on", form: formChoice, choices: []string{HookOnChange, HookOnLeak, HookOnTest}, Default: HookOnChange,
		Doc: "change: a verdict that is another than the one before. leak: each test that finds a leak. test: each test.",
	},
	{Path: "leaktest.webhook.headers", form: formNames, Doc: "Fields of the request."},
	{Path: "leaktest.webhook.headers.*", form: formText, Doc: "The value of that field; a secret is read with ${file:PATH} or ${env:NAME}."},
	{Path: "leaktest.webhook.ca", form: formText, Doc: "A PEM file with the only authorities that may certify it. Without it they are those whom the system trusts."},

	{Path: "guard", form: formMap, Doc: "All that the program sends is marked, for the host's firewall guard (`watertight guard`). Not done unless written."},
	{
		Path: "guard.allow", form: formText, list: true,
		Doc: "Networks that every program of the host may reach past the guard, save for DNS. None unless written.",
	},

	{Path: "policy", form: formMap, Doc: "What is refused, whatever the route."},
	{
		Path: "policy.plain_http", form: formChoice, choices: []string{"refuse", "allow"}, Default: "refuse",
		Doc: "An http:// request, which leaves in the clear.",
	},
	{Path: "policy.plain_dns", form: formChoice, choices: []string{"refuse"}, Default: "refuse", Doc: "DNS in clear text: always refused."},
	{
		Path: "policy.foreign_resolvers", form: formChoice, choices: []string{"refuse", "allow"}, Default: "refuse",
		Doc: "DoT and DoQ ports and known DoH names, reached through the proxy.",
	},
	{
		Path: "policy.private_targets", form: formChoice, choices: []string{"refuse", "allow"}, orText: true, Default: "refuse",
		Doc: "Addresses that are not public; a network, or a list of them, allows just those.",
	},
	{
		Path: "policy.client_resolved", form: formChoice, choices: []string{"report", "refuse", "allow"}, Default: "report",
		Doc: "A request for an address that our resolver never gave out. Of contained programs see `exec`.",
	},

	{Path: "exec", form: formMap, Doc: "What holds for contained programs (`watertight exec`) alone."},
	{
		Path: "exec.client_resolved", form: formChoice, choices: []string{"report", "refuse", "allow"}, Default: "refuse",
		Doc: "A connection of a contained program to an address that it was not given.",
	},

	{Path: "limits", form: formMap, Doc: "Bounds on what clients can use."},
	{
		Path: "limits.connections", form: formInt, min: 1, max: 1_000_000, Default: "20000",
		Doc: "Client connections at once, over all listeners of `listen.proxy`.",
	},
	{Path: "limits.per_user", form: formMap, Doc: "What each user may have. Clients without a name are not counted."},
	{
		Path: "limits.per_user.connections", form: formInt, min: 1, max: 1_000_000,
		Doc: "Tunnels and requests of one user at once. No limit unless written.",
	},
	{
		Path: "limits.per_user.new_per_second", form: formInt, min: 1, max: 1_000_000,
		Doc: "Tunnels and requests that one user begins in a second; as many may begin at once. No limit unless written.",
	},
	{
		Path: "limits.drain", form: formPeriod, min: 0, max: 3600, Default: DefaultDrain.String(),
		Doc: "How long a stop or a reload waits for open tunnels before it cuts them.",
	},

	{Path: "acme", form: formMap, Doc: "How certificates are obtained and renewed for listeners with `acme` in their `tls` (RFC 8555)."},
	{Path: "acme.accept_terms", form: formBool, Default: "false", Doc: "Your word that you accept the terms of service of the authority. It must be true."},
	{Path: "acme.channel", form: formText, Doc: "The channel by which the authority is reached, and no other."},
	{Path: "acme.directory", form: formText, Default: acme.LetsEncrypt, Doc: "The URL of the authority's directory."},
	{Path: "acme.ca", form: formText, Doc: "A PEM file with the only authorities that may certify the directory. Without it they are those whom the system trusts."},
	{Path: "acme.email", form: formText, Doc: "Where the authority may write."},
	{
		Path: "acme.http", form: formText,
		Doc: "IP:PORT at which validations by http-01 are answered, and nothing else. Without it they are answered by TLS (tls-alpn-01), at the listeners.",
	},
	{Path: "acme.eab", form: formMap, Doc: "The account at the authority to which the one of this program is bound, where it asks for that."},
	{Path: "acme.eab.kid", form: formText, Doc: "The identifier of that binding."},
	{Path: "acme.eab.key", form: formText, Doc: "Its key in base64url, as ${file:PATH} or ${env:NAME}."},

	{
		Path: "state", form: formText,
		Doc: "The directory for what is kept from one run to the next, or none. Without the key it is $STATE_DIRECTORY, $XDG_STATE_HOME/watertight or ~/.local/state/watertight.",
	},

	{Path: "log", form: formMap, Doc: "The log, on standard error."},
	{Path: "log.level", form: formChoice, choices: []string{"debug", "info", "warn", "error"}, Default: "info", Doc: "The least level that is logged."},
	{Path: "log.format", form: formChoice, choices: []string{"text", "json"}, Default: "text", Doc: "How a line looks."},
	{Path: "log.names", form: formBool, Default: "false", Doc: "Log the names that clients ask for."},
}

// stickyWords are what may stick to a member of a pool.
var stickyWords = []string{"user", "session", "client", "target"}

// later are keys that users may know from the documentation of a later version, with what to do without them.
// None is read here, and none is passed over in silence.
var later = map[string]string{
	"listen.dns.users": "remove the key, and tell clients by their certificates: `client_ca` in `tls`",
}

// renamed are keys of earlier versions, with their successors and what is to be known about them.
var renamed = map[string]struct{ to, mend string }{
	"channels.*.resolver.cache.entries": {"size", "write `size` in MiB of memory; one takes about 2000 answers, and the default is " + strconv.Itoa(DefaultCacheSize)},
}

// keyAt gives the table's row for a path in the table's form.
func keyAt(path string) *Key {
	i := slices.IndexFunc(Keys, func(k Key) bool { return k.Path == path })
	if i < 0 {
		return nil
	}
	return &Keys[i]
}

// below gives the last parts of the keys right below path; "" is the root.
func below(path string) []string {
	var names []string
	for _, k := range Keys {
		parent, last := "", k.Path
		if i := strings.LastIndexByte(k.Path, '.'); i >= 0 {
			parent, last = k.Path[:i], k.Path[i+1:]
		}
		if parent == path && last != "*" {
			names = append(names, last)
		}
	}
	return names
}

// elsewhere gives a key of that last part in another place of the file, if there is just one.
func elsewhere(last string) string {
	found := ""
	for _, k := range Keys {
		if strings.HasSuffix("."+k.Path, "."+last) {
			if found != "" {
				return ""
			}
			found = k.Path
		}
	}
	return strings.ReplaceAll(found, "*", "NAME")
}
