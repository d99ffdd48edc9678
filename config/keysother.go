package config

import (
	"strconv"

	"watertight/acme"
)

// otherKeys are those of what goes which way, of what is refused and bounded, and of the program itself.
var otherKeys = []Key{
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
