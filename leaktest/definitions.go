package leaktest

// Fixes of leaks that more than one case finds.
const (
	fixProgram = "this is a fault of the program: report it with this report"
	fixAgain   = "run it again: a configuration that is reloaded in the meantime ends what the test comes in by"
	fixPolicy  = "see `policy` in the configuration, and report this with the report"
)

// definitions gives every case, in the order in which they are shown.
func definitions() []definition {
	all := []definition{
		{
			Listed: Listed{ID: "CONTROL", Title: "A leak would be seen: a name that the host's own resolver is asked for on purpose", Cause: "H1", Canary: true, Needed: true},
			try:    tryControl, then: thenControl,
		},
		{
			Listed: Listed{ID: "NAME-BY-CHANNEL", Title: "A name goes to its channel's resolver alone, in each family", Cause: "D5", Canary: true, Needed: true},
			fix:    fixSecond, try: tryNamesByChannel,
		},
		{
			Listed: Listed{ID: "NAME-BY-DOOR", Title: "A name that a client sends to a door goes to its channel's resolver alone, and its connection through that channel", Cause: "D4", Canary: true, Needed: true},
			fix:    fixSecond, try: tryNamesByDoor,
		},
		{
			Listed: Listed{ID: "DATAGRAM-BY-DOOR", Title: "The name of a datagram goes the way of a connection's, or it is refused", Cause: "D1", Canary: true},
			fix:    fixSecond, try: tryDatagrams,
		},
		{
			Listed: Listed{ID: "DNS-DOOR", Title: "A question to the DNS door goes to its channel's resolver alone", Cause: "D5", Canary: true, NeededWhere: "there is one"},
			fix:    fixSecond, try: tryDNSDoor,
		},
		{
			Listed: Listed{ID: "PLAIN-HTTP", Title: "A request for an http:// URL goes through its channel, or it is refused before anybody is asked", Cause: "D4"},
			fix:    fixPolicy, fresh: true, try: tryPlainHTTP,
		},
		{
			Listed: Listed{ID: "GATEWAY-CLOSED", Title: "The gateway sends nothing where its entries do not lead", Cause: "D4", Canary: true},
			fix:    fixProgram, try: tryGateway,
		},
		{
			Listed: Listed{ID: "NAME-BY-GATEWAY", Title: "A name that the generic form of the gateway is asked for goes to its channel's resolver alone", Cause: "D4", Canary: true},
			fix:    fixSecond, try: tryNamesByGateway,
		},
		{
			Listed: Listed{ID: "NAME-BY-USER", Title: "A name of a user with routes of his own goes to his channel's resolver alone, and its connection through that channel", Cause: "D4", Canary: true, NeededWhere: "a route with a `user` takes names of the canary"},
			fix:    fixSecond, try: tryNamesByUser,
		},
		{
			Listed: Listed{ID: "HANDED-OVER", Title: "What programs of this host send that know of no proxy is handed over, and goes through its name's channel", Cause: "H2", Canary: true, NeededWhere: "a transparent listener has a `mark`"},
			fix:    fixRules, try: tryHandedOver,
		},
		{
			Listed: Listed{ID: "FAILING-NAME", Title: "A name that fails, is bogus, or has no answer is asked of nobody else", Cause: "B1", Canary: true, Needed: true},
			fix:    fixSecond, stage: failing, try: tryFailing,
		},
		{
			Listed: Listed{ID: "EXPIRED-NAME", Title: "A name that has expired is asked for where it was asked for before", Cause: "C5", Canary: true, Needed: true},
			fix:    fixSecond, try: tryExpired,
		},
		{
			Listed: Listed{ID: "HTTPS-RECORD", Title: "HTTPS records are asked of the channel's resolver", Cause: "A6", Canary: true},
			fix:    fixSecond, try: tryServices,
		},
		{
			Listed: Listed{ID: "CACHE-APART", Title: "No channel answers with what another has learnt", Cause: "F1", Canary: true},
			fix:    fixProgram, try: tryApart, then: thenApart,
		},
		{
			Listed: Listed{ID: "CUT-REFUSED", Title: "Where resolver and hops refuse, a request is refused, and nobody else is asked", Cause: "B1", Needed: true},
			fix:    fixCut, fresh: true, try: tryCut(false),
		},
		{
			Listed: Listed{ID: "CUT-SILENT", Title: "Where resolver and hops are silent, a request is refused, and nobody else is asked", Cause: "B1", Needed: true},
			fix:    fixCut, fresh: true, try: tryCut(true),
		},
		{
			Listed: Listed{ID: "CUT-RESOLVER", Title: "Where the resolver alone refuses or is silent, its hops are given no name, and nobody else is asked", Cause: "B1", NeededWhere: "a channel has hops and resolves here"},
			fix:    fixCut, fresh: true, try: tryCutResolver,
		},
		{
			Listed: Listed{ID: "NOT-READY", Title: "Before a channel's resolver has answered, a request is refused, and nobody else is asked", Cause: "C1", Needed: true},
			fix:    fixCut, fresh: true, try: tryUnready,
		},
		{
			Listed: Listed{ID: "RETIRED", Title: "A channel that a reload has taken away answers nothing, and asks nobody", Cause: "C2", Needed: true},
			fix:    fixCut, fresh: true, try: tryRetired,
		},
		{
			Listed: Listed{ID: "NETWORK-CHANGED", Title: "In another network nothing is answered or connected by what was before, and the same resolver is asked", Cause: "C3", Canary: true, NeededWhere: "a channel resolves here and is no tunnel"},
			fix:    fixSecond, try: tryChanged,
		},
		{
			Listed: Listed{ID: "CONNECTED-AGAIN", Title: "A channel that was cut off for a moment comes back to its own resolver, and asks nobody else", Cause: "C4", Canary: true, NeededWhere: "a channel resolves here and is no tunnel"},
			fix:    fixSecond, try: tryAgain,
		},
		{
			Listed: Listed{ID: "FOREIGN-RESOLVER", Title: "Clients reach no resolver of others", Cause: "G11"},
			fix:    fixPolicy, try: tryForeign,
		},
		{
			Listed: Listed{ID: "PLAIN-DNS", Title: "Nothing is carried to a port on which names travel in clear text", Cause: "B5", Needed: true},
			fix:    fixProgram, try: tryPlain,
		},
		{
			Listed: Listed{ID: "CLIENT-RESOLVED", Title: "A request for an address that was given to nobody is refused", Cause: "H1"},
			fix:    fixPolicy, try: tryLiterals,
		},
		{
			Listed: Listed{ID: "SPECIAL-NAME", Title: "Names for special use are answered here", Cause: "B7", Needed: true},
			fix:    fixProgram, try: trySpecial,
		},
		{
			Listed: Listed{ID: "GUARD-REFUSES", Title: "Where the host has a guard, it refuses and counts what a program without the mark sends, and flows of before it", Cause: "G6", Canary: true, NeededWhere: "the configuration has `guard`, and it is on"},
			fix:    fixGuardChanged, try: tryGuardRefuses,
		},
		{
			Listed: Listed{ID: "ENVIRONMENT", Title: "Clients that read the proxy variables give their names to the proxy", Cause: "H1"},
			fix:    "eval \"$(watertight env)\"", stage: looking, try: tryEnvironment,
		},
		{
			Listed: Listed{ID: "RESOLVER-COUNTRY", Title: "A channel's resolver is in the country of its exit", Cause: "F7", Canary: true},
			fix:    "let the exit resolve (`resolve: exit`), or take a resolver that is near it", stage: looking, try: tryWho,
		},
		{
			Listed: Listed{ID: "RESOLVER-HABITS", Title: "What the resolvers tell of who asks", Cause: "F3", Canary: true},
			stage:  looking, try: tryHabits,
		},
		{
			Listed: Listed{ID: "PACKETS", Title: "No name of the test leaves this host in clear, and no question of this program does", Cause: "A3", Needed: true},
			fix:    "the evidence says where it went: see docs/leaks.md for the cause", stage: looking, try: tryPackets,
		},
		{
			Listed: Listed{ID: "SOCKETS", Title: "This program has no socket where names are asked for in clear", Cause: "A3"},
			fix:    fixProgram, stage: looking, try: trySockets,
		},
		{
			Listed: Listed{ID: "TRAP", Title: "Nothing of this program asks the host's resolver", Cause: "A2", Needed: true},
			fix:    fixProgram, stage: looking, try: tryCounters,
		},
		{
			Listed: Listed{ID: "GUARD-HELD", Title: "Where the configuration has a guard, it is on, and nobody has changed what it put into the kernel", Cause: "G12", NeededWhere: "the configuration has `guard`"},
			fix:    fixGuardChanged, stage: looking, try: tryGuardHeld,
		},
	}
	return append(all, insides()...)
}
