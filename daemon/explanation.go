package daemon

// Explanation is what would become of a request: the answer of `watertight explain`. The field names are stable, and
// docs/explain.md tells what each means.
type Explanation struct {
	Target   string       `json:"target"`  // HOST:PORT
	Scheme   string       `json:"scheme"`  // of what the client speaks to it: https or http
	Verdict  string       `json:"verdict"` // carried or refused
	Refusal  *AnswerError `json:"refusal,omitempty"`
	Route    RouteTaken   `json:"route"`
	Gateway  *EntryTaken  `json:"gateway,omitempty"`  // of a request to the gateway
	Identity *Asker       `json:"identity,omitempty"` // whom the request is for, labels of the route included; nil for nobody
	Channel  string       `json:"channel"`            // empty where no route leads to one
	Over     []string     `json:"over"`               // the channels underneath, the nearest first
	Hops     []string     `json:"hops"`               // upstream proxies and tunnels from here to the end of the channel; no passwords
	Path     []HopTaken   `json:"path"`               // the same, each with what it is asked for; nothing where the request is refused
	Name     NameAsked    `json:"name"`
	HopNames []HopName    `json:"hop_names"`
	Sees     []Sight      `json:"sees"` // nothing where the request is refused
	Notes    []string     `json:"notes"`
	Seen     *LiveSeen    `json:"live,omitempty"` // what was looked up, where it was asked for
}

// RouteTaken is the route that decided.
type RouteTaken struct {
	Rule    int    `json:"rule"`              // from 1; 0 where none is written, so that everything takes `direct`, or none matches
	Pattern string `json:"pattern,omitempty"` // of that route, as it was written
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
}

// Asker is whom a request is for.
type Asker struct {
	User    string `json:"user,omitempty"`
	Session string `json:"session,omitempty"` // per_request where the route gives each connection one
	Country string `json:"country,omitempty"`
	State   string `json:"state,omitempty"`
	City    string `json:"city,omitempty"`
	TTL     string `json:"ttl,omitempty"`
}

// HopTaken is one hop on the way: a proxy, a pool of which one is taken, or a tunnel.
type HopTaken struct {
	Hop         string   `json:"hop"` // as in sees
	Channel     string   `json:"channel"`
	From        string   `json:"from"` // whose address reaches it: `you`, or the hop before
	YourAddress bool     `json:"your_address"`
	Encrypted   bool     `json:"encrypted"`        // those on the way to it read nothing of what it is asked
	FoundBy     string   `json:"found_by"`         // address, resolver or exit: how what is before it gets to it
	FoundIn     string   `json:"found_in"`         // the channel that looks its name up, or whose exit gets it; empty for an address
	Next        string   `json:"next"`             // what it is asked to lead to: the next hop, or the target
	NextAs      string   `json:"next_as"`          // by its name or by its address
	SeesName    []string `json:"sees_name"`        // how it learns the target's name, as in sees
	Told        []string `json:"told"`             // labels of the client that it is told in its user and password
	Sticks      string   `json:"sticks,omitempty"` // of a pool: to what a member is kept, and for how long
}

// EntryTaken is the entry of the gateway that decided.
type EntryTaken struct {
	Path    string `json:"path"`    // /https/ for the generic form
	To      string `json:"to"`      // the origin that the path stands for
	Channel string `json:"channel"` // that the entry names; empty where the routes decide
}

// Who learns the target's name by being asked for its addresses.
const (
	byResolver = "resolver" // the resolver of the channel
	byExit     = "exit"     // the last proxy, which gets the name
	byHere     = "here"     // nobody: the name is for special use, and answered by the program itself
	byNobody   = "nobody"   // nobody: the target is an address, or it is refused before
)

// NameAsked is how the addresses of the target are found.
type NameAsked struct {
	By       string `json:"by"`                               // resolver, exit, here or nobody
	Strategy string `json:"strategy"`                         // order, random or race; empty where no resolver is asked
	Sees     int    `json:"sees_name"`                        // resolvers that see the name, as long as all can be reached
	MaySee   int    `json:"may_see_name"`                     // resolvers that see it where others cannot be reached
	DNSSEC   string `json:"dnssec"`                           // off, validate or require-secure; empty where no resolver is asked
	Negative string `json:"dnssec_negative_anchor,omitempty"` // because of which the name is not validated all the same
	Stale    int    `json:"stale_seconds"`                    // for how long an expired answer may stand in; 0: never

	Resolvers []ResolverAsked `json:"resolvers"`
}

// When a resolver sees the name.
const (
	seesAlways = "always" // whenever the name is looked up
	seesShare  = "share"  // where chance gives it the name, or the one with the name cannot be reached
	seesSpare  = "spare"  // where those before it cannot be reached or give no reply
)

// ResolverAsked is one resolver that may see a name.
type ResolverAsked struct {
	Upstream  string   `json:"upstream"`  // as configured
	Transport string   `json:"transport"` // DNS over TLS and so on
	Host      string   `json:"host"`
	Relay     string   `json:"relay,omitempty"` // through which it is reached
	Addresses []string `json:"addresses"`       // that are dialled: the relay's, where there is one; none where it is looked up (hop_names)
	SeesName  string   `json:"sees_name"`       // always, share or spare
}

// HopName is a name on the way, which has to be looked up before what has it is dialled: an upstream proxy, the endpoint of a
// tunnel, or a resolver that is known by its name.
type HopName struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`      // proxy, endpoint or resolver
	Channel   string   `json:"channel"`   // in which it is looked up
	Resolvers []string `json:"resolvers"` // that may see it; none where the exit of that channel gets the name
}

// Kinds of places.
const (
	placeNetwork     = "network"
	placeHop         = "hop"
	placeRelay       = "relay"
	placeResolver    = "resolver"
	placeDestination = "destination"
)

// How a place learns the target's name.
const (
	inSNI      = "sni"           // in the TLS handshake of the client
	inRequest  = "proxy_request" // it is what a proxy is asked to connect to
	inQuestion = "dns_question"
	inClear    = "clear_text" // in the client's request, with all that is in it
)

// Sight is what one place sees of the request.
type Sight struct {
	Place         string   `json:"place"`
	When          string   `json:"when"`           // always; of a relay and a resolver also share or spare
	Kind          string   `json:"kind"`           // network, hop, relay, resolver or destination
	Channel       string   `json:"channel"`        // of a hop, and of a relay and a resolver; empty otherwise
	From          string   `json:"from"`           // whose address reaches it: `you`, or a hop or relay
	YourAddress   bool     `json:"your_address"`   // it sees the address of this host
	To            []string `json:"to"`             // whose addresses it sees traffic go on to
	TargetAddress bool     `json:"target_address"` // it learns an address of the target
	TargetName    []string `json:"target_name"`    // how it learns the target's name: sni, proxy_request, dns_question or clear_text; nothing where it does not
	Content       bool     `json:"content"`        // it reads requests and answers
	HopNames      []string `json:"hop_names"`      // names of upstream proxies, and of resolvers, that it learns
	Time          string   `json:"time"`           // when it sees that there is one: requests, or lookups: those that the cache does not answer
	Why           []string `json:"why"`            // for people: why it sees that
	Better        []string `json:"better"`         // for people: what would improve it, as far as anything would
}
