package control

import "time"

// Status is what a running program tells about itself. Field names are stable. It holds no name of a target and no
// secret: hops come with their passwords masked.
type Status struct {
	Version       string     `json:"version"`
	PID           int        `json:"pid"`
	Started       time.Time  `json:"started"`
	UptimeSeconds int64      `json:"uptime_seconds"`
	Ready         bool       `json:"ready"`
	Listeners     []Listener `json:"listeners"`
	Channels      []Channel  `json:"channels"`
	Connections   int64      `json:"connections"` // of clients, open
	Tunnels       Tunnels    `json:"tunnels"`
	Requests      Requests   `json:"requests"`
	DNS           *DNS       `json:"dns,omitempty"` // nothing where no DNS is served
	// Certificates are those that are obtained by ACME; nothing where none are.
	Certificates []Certificate `json:"certificates,omitempty"`
	// Contained are the programs of `watertight exec --attach`; nothing where there never was one.
	Contained *ContainedPrograms `json:"contained,omitempty"`
	// LeakTest is how the program tests itself; nothing where it does not.
	LeakTest *LeakTest `json:"leaktest,omitempty"`
	// Guard is the guard of the host's firewall; nothing where the configuration has no `guard`.
	Guard              *Guard `json:"guard,omitempty"`
	TrappedHostLookups uint64 `json:"trapped_host_lookups"` // anything but 0 is a fault of the program
	Config             Config `json:"config"`
	// ResolverFiles are what the files had in them by which other programs of the host find their resolvers, since the program first
	// ran here: each content once, the oldest first.
	ResolverFiles []ResolverFile `json:"resolver_files,omitempty"`
}

// ResolverFile is a content of a file.
type ResolverFile struct {
	Path   string    `json:"path"`
	SHA256 string    `json:"sha256"` // in hexadecimal, of its first 256 KiB
	At     time.Time `json:"at"`     // when it was seen first
}

// DNS is what happened at the DNS door since the program started.
type DNS struct {
	Queries   map[string]uint64 `json:"queries"` // read, by transport
	Dropped   map[string]uint64 `json:"dropped"` // queries and connections that no channel was asked for, by reason
	Truncated uint64            `json:"truncated"`
	Waiting   int64             `json:"waiting"` // queries under way
	WPAD      uint64            `json:"wpad"`    // queries by which programs look for their proxy, among Queries
}

// ContainedPrograms are those whose traffic the program carries.
type ContainedPrograms struct {
	Total uint64             `json:"total"` // since the program started
	List  []ContainedProgram `json:"list"`  // now, the longest first
}

// ContainedProgram is one of them. It holds no names.
type ContainedProgram struct {
	PID         int       `json:"pid"`     // of its `watertight exec`; 0 where its number means nothing here
	Channel     string    `json:"channel"` // empty where the routes say it
	Started     time.Time `json:"started"`
	Connections int64     `json:"connections"` // open
	Flows       int       `json:"flows"`       // of datagrams, open
	Names       int       `json:"names"`       // that have an address that stands for them
	Queries     uint64    `json:"queries"`     // questions of DNS
	Dropped     uint64    `json:"dropped"`     // datagrams over a limit
	Refused     uint64    `json:"refused"`     // datagrams that nobody takes, and it was told so
}

// Certificate is one that is obtained for listeners.
type Certificate struct {
	Names     []string   `json:"names"`
	NotAfter  *time.Time `json:"not_after,omitempty"`  // nothing where there is none yet
	Next      *time.Time `json:"next,omitempty"`       // when the authority is asked next
	Failures  int        `json:"failures"`             // since the last success
	LastError string     `json:"last_error,omitempty"` // empty after a success
}

// Listener is where the program listens.
type Listener struct {
	Kind    string `json:"kind"`    // proxy, admin, dns
	Address string `json:"address"` // IP:PORT; of the DNS door as it is written, such as tls://IP:PORT
}

// Channel is how one channel does.
type Channel struct {
	Name    string   `json:"name"`
	Over    string   `json:"over,omitempty"` // the channel underneath; empty for the ground
	Hops    []string `json:"hops"`           // upstream proxies in order, passwords masked, and a tunnel
	Pool    *Pool    `json:"pool,omitempty"` // nothing where it has none
	Resolve string   `json:"resolve"`        // here or exit
	Ready   bool     `json:"ready"`
	Reason  string   `json:"reason,omitempty"` // why it is not ready
	// Resolver has no upstreams where the exit resolves.
	Resolver Resolver `json:"resolver"`
	Cache    Cache    `json:"cache"`
	// Identities are the users and sessions that it works for at this moment, each with a cache and connections of its own.
	Identities int `json:"identities"`
	// WireGuard has the peers of the channel's tunnel; nothing where its way out is another.
	WireGuard []Peer `json:"wireguard,omitempty"`
}

// Peer is a far end of a tunnel.
type Peer struct {
	Endpoint string `json:"endpoint"` // HOST:PORT, as configured
	// HandshakeSeconds is how long ago the last handshake was; nothing where there was none.
	HandshakeSeconds *int64 `json:"handshake_seconds,omitempty"`
	SentBytes        uint64 `json:"sent_bytes"` // of datagrams, since the tunnel came up
	ReceivedBytes    uint64 `json:"received_bytes"`
}

// Pool is the pool of a channel. It holds no credential.
type Pool struct {
	Pick          string `json:"pick"`
	StickyBy      string `json:"sticky_by,omitempty"` // user, session, client or target; empty where nothing sticks
	StickySeconds int64  `json:"sticky_seconds,omitempty"`
	Members       int    `json:"members"`
	Usable        int    `json:"usable"`
	Stuck         int    `json:"stuck"`   // who stick to a member
	Refused       uint64 `json:"refused"` // connections for which no member was left
	// List are the members, where they were asked for: GET /status?pool.
	List []Member `json:"list"`
}

// Member is one proxy of a pool.
type Member struct {
	Index        int     `json:"index"` // from 1, in the order of the configuration and its list
	Host         string  `json:"host"`  // HOST:PORT
	Scheme       string  `json:"scheme"`
	Usable       bool    `json:"usable"`
	Open         int     `json:"open"` // connections that are being opened; with least_used, those that are open too
	Dials        uint64  `json:"dials"`
	Failures     uint64  `json:"failures"`
	LastError    string  `json:"last_error,omitempty"`    // empty after a success
	RetrySeconds float64 `json:"retry_seconds,omitempty"` // until it is tried again
	LatencyMS    float64 `json:"latency_ms,omitempty"`    // smoothed, of opening a connection
}

// Resolver is the resolver of a channel.
type Resolver struct {
	Strategy  string     `json:"strategy,omitempty"`  // order, random or race
	SeesName  int        `json:"sees_name,omitempty"` // upstreams that see a name, as long as all can be reached
	Upstreams []Upstream `json:"upstreams"`           // in the order of preference: all that may see a name
	DNSSEC    *DNSSEC    `json:"dnssec,omitempty"`    // nothing where answers are not validated
}

// DNSSEC is how the answers of a resolver were judged since its channel was opened.
type DNSSEC struct {
	Mode          string `json:"mode"` // validate or require-secure
	Secure        uint64 `json:"secure"`
	Insecure      uint64 `json:"insecure"`
	Bogus         uint64 `json:"bogus"`
	Indeterminate uint64 `json:"indeterminate"`
	Chain         uint64 `json:"chain"` // look-ups of keys and delegations
	// Anchors are the keys of the root that are followed, by tag: valid, pending, missing, revoked or removed.
	Anchors   map[string]string `json:"anchors"`
	LastError string            `json:"last_error,omitempty"` // of the last look at those keys, if it failed
}

// Upstream is a server of a resolver.
type Upstream struct {
	Name      string `json:"name"`               // as configured
	Protocol  string `json:"protocol,omitempty"` // of the connection in use, such as "DoH over HTTP/3"; empty where there is none
	ECH       bool   `json:"ech"`                // the hello of that connection was encrypted
	Healthy   bool   `json:"healthy"`
	LastError string `json:"last_error,omitempty"`
	Queries   uint64 `json:"queries"`
	Failures  uint64 `json:"failures"`
}

// Cache is the cache of a channel.
type Cache struct {
	Entries    int    `json:"entries"`
	Bytes      int    `json:"bytes"`       // of memory
	LimitBytes int    `json:"limit_bytes"` // that Bytes may grow to
	Hits       uint64 `json:"hits"`
	Misses     uint64 `json:"misses"`
	Stale      uint64 `json:"stale"` // expired answers that stood in
	Evicted    uint64 `json:"evicted"`
	Prefetched uint64 `json:"prefetched"`
}

// Tunnels are the relays between clients and destinations.
type Tunnels struct {
	Active int64  `json:"active"`
	Total  uint64 `json:"total"`
}

// Requests are those decided since the program started.
type Requests struct {
	Total   uint64            `json:"total"`
	Refused map[string]uint64 `json:"refused"` // by code
	// ClientResolved are those for an address that no resolver of ours gave out, by door: the client resolved elsewhere.
	ClientResolved map[string]uint64 `json:"client_resolved"`
	// ClientResolvedBy are some of those that asked so, the latest first: a sample, of this host by process and user.
	ClientResolvedBy []Caller `json:"client_resolved_by,omitempty"`
}

// Caller is who asked, on this host or on another.
type Caller struct {
	Process string    `json:"process,omitempty"` // NAME (PID); empty where it may not be seen
	UID     *int      `json:"uid,omitempty"`     // nothing for another host
	Address string    `json:"address,omitempty"` // of another host
	Door    string    `json:"door"`
	Last    time.Time `json:"last"`
}

// Config is the configuration in force.
type Config struct {
	Path      string    `json:"path"` // empty for the defaults
	LoadedAt  time.Time `json:"loaded_at"`
	Reloads   uint64    `json:"reloads"`              // that went well
	LastError string    `json:"last_error,omitempty"` // of the last reload, if it failed
}

// whole replaces nil by empty, so that a script need not tell null from [] or {}.
func (s Status) whole() Status {
	if s.Listeners == nil {
		s.Listeners = []Listener{}
	}
	if s.Requests.Refused == nil {
		s.Requests.Refused = map[string]uint64{}
	}
	if s.Requests.ClientResolved == nil {
		s.Requests.ClientResolved = map[string]uint64{}
	}
	channels := make([]Channel, len(s.Channels))
	for i, c := range s.Channels {
		if c.Hops == nil {
			c.Hops = []string{}
		}
		if c.Resolver.Upstreams == nil {
			c.Resolver.Upstreams = []Upstream{}
		}
		if c.Pool != nil && c.Pool.List == nil {
			pool := *c.Pool
			pool.List = []Member{}
			c.Pool = &pool
		}
		channels[i] = c
	}
	s.Channels = channels
	return s
}
