package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"watertight/event"
	"watertight/wire"
)

// State is what the program is at the moment at which metrics are read. What happened before comes by events.
type State struct {
	Ready       bool
	Connections int64 // accepted from clients and open
	Tunnels     int64 // relays that are running
	// Clients that got no further than the port, since the program started.
	OverLimit uint64 // more connections than the limit
	Unknown   uint64 // a first octet of no protocol spoken there
	Faults    uint64 // of the program itself
	// Handshakes counts those of TLS that failed, by the key of `listen` that the listener stands under.
	Handshakes map[string]uint64
	Datagrams  []DroppedDatagrams
	Channels   []ChannelState
	DNS        *DNSState // nil where no DNS is served
	// Certificates are those that are obtained by ACME.
	Certificates []CertificateState
	LeakTest     *LeakTestState // nil where the program does not test itself
	Guard        *GuardState    // nil where the guard of the host is not watched
}

// DNSState is what happened at the DNS door, since the program started, before a channel was asked.
type DNSState struct {
	Queries   map[string]uint64 // read, by transport
	Dropped   map[string]uint64 // queries and connections that got no answer of a channel, by reason
	Truncated uint64
}

// CertificateState is how a certificate does that is obtained by ACME.
type CertificateState struct {
	Name     string    // the first of those that it is for
	NotAfter time.Time // zero where there is none
	Failures int       // to obtain one, since the last success
}

// DroppedDatagrams counts datagrams of clients that were not sent on, since the program started.
type DroppedDatagrams struct {
	Door   event.Door
	Reason string // of a closed set
	Number uint64
}

// ChannelState is how one channel does. A channel whose exit resolves has no upstreams and no cache.
type ChannelState struct {
	Name      string
	SeesName  int    // upstreams that are asked about a name, as long as all can be reached
	Upstreams []bool // whether each is up, in the order of the configuration
	Cache     CacheState
	// Identities are the users and sessions that it works for, each in a partition of its own.
	Identities int
	Peers      []PeerState // of its tunnel, in the order of the configuration
	// Members are those of its pool, in their order; PoolRefused the connections for which none was left.
	Members     []MemberState
	PoolRefused uint64
}

// PeerState is how a far end of a WireGuard tunnel does.
type PeerState struct {
	Age            time.Duration // since the last handshake; negative where there was none
	Sent, Received uint64        // octets of datagrams
}

// MemberState is how one member of a pool does.
type MemberState struct {
	Host            string // HOST:PORT
	Usable          bool
	Dials, Failures uint64
}

// mostMembers bounds how many members of a pool have metrics of their own.
const mostMembers = 256

// CacheState is how the cache of one channel does. What is counted is counted since the channel was opened.
type CacheState struct {
	Entries                                  int
	Octets, MaxOctets                        int
	Hits, Misses, Stale, Evicted, Prefetched uint64
}

// stateCollector asks for the state once for each reading.
type stateCollector struct {
	state func() State

	ready, connections, tunnels, turned, trapped, up, sees, may *prometheus.Desc
	identities, datagrams, members, left, dials, failures       *prometheus.Desc
	entries, octets, most, hits, misses, stale, evicted, ahead  *prometheus.Desc
	queries, dropped, truncated                                 *prometheus.Desc
	handshake, sent, received, secured, expiry, unobtained      *prometheus.Desc

	leaktest leakTestDescs
	guard    guardDescs
}

func newStateCollector(state func() State) *stateCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("watertight_"+name, help, labels, nil)
	}
	return &stateCollector{
		state:       state,
		ready:       desc("ready", "Whether every channel's resolver has answered once, authenticated (1) or not (0)."),
		connections: desc("connections", "Connections of clients that are open."),
		tunnels:     desc("tunnels_active", "Relays between a client and a destination that are running."),
		turned:      desc("clients_turned_away_total", "Connections that were closed at the port: over the limit, of no protocol spoken there, or by a fault of Watertight.", "reason"),
		datagrams:   desc("datagrams_dropped_total", "Datagrams of clients that were not sent on: malformed, fragments, from strangers, or over a limit and to refused targets.", "door", "reason"),
		trapped:     desc("host_resolver_trapped_total", "Look-ups and requests by the host's own resolver and client, all refused. Anything but 0 is a fault of Watertight."),
		up:          desc("upstream_up", "Whether the last exchange with a channel's resolver went well (1) or not (0). Upstreams are numbered from 1 in the order of the configuration.", "channel", "upstream"),
		sees:        desc("resolvers_per_name", "Upstreams that see a name which a channel looks up, as long as all can be reached.", "channel"),
		may:         desc("resolvers", "Upstreams that may see a name which a channel looks up, where others cannot be reached or the choice is random.", "channel"),
		identities:  desc("identities", "Users and sessions that a channel works for at this moment, each with a cache and connections of its own.", "channel"),
		members:     desc("pool_members", "Members of a channel's pool, by whether they can be used now (usable) or are left alone after a failure (resting).", "channel", "state"),
		left:        desc("pool_refused_total", "Connections for which no member of a channel's pool was left.", "channel"),
		dials:       desc("pool_member_dials_total", "Connections asked of a member of a channel's pool: of the first 256, numbered from 1.", "channel", "member", "host"),
		failures:    desc("pool_member_failures_total", "Connections that a member of a channel's pool failed to open by its own fault.", "channel", "member", "host"),
		entries:     desc("cache_entries", "Answers in the cache of a channel.", "channel"),
		octets:      desc("cache_bytes", "Memory that the cache of a channel takes.", "channel"),
		most:        desc("cache_limit_bytes", "Memory that the cache of a channel may take.", "channel"),
		hits:        desc("cache_hits_total", "Questions answered from the cache of a channel.", "channel"),
		misses:      desc("cache_misses_total", "Questions that the cache of a channel could not answer.", "channel"),
		stale:       desc("cache_stale_answers_total", "Expired answers that a channel gave where no upstream gave another.", "channel"),
		evicted:     desc("cache_evictions_total", "Answers that the cache of a channel dropped to make room.", "channel"),
		handshake:   desc("wireguard_handshake_age_seconds", "How long ago the last handshake with a peer of a channel's tunnel was; nothing where there was none. Peers are numbered from 1 in the order of the configuration.", "channel", "peer"),
		sent:        desc("wireguard_sent_bytes_total", "Octets of datagrams that went to a peer of a channel's tunnel.", "channel", "peer"),
		received:    desc("wireguard_received_bytes_total", "Octets of datagrams that came from a peer of a channel's tunnel.", "channel", "peer"),
		secured:     desc("tls_handshakes_failed_total", "Connections of clients that ended before the handshake of TLS was complete, by the key of `listen`. At the DNS door those of QUIC are among them; HTTP/3 of the proxy port is not.", "listener"),
		expiry:      desc("certificate_expiry_timestamp_seconds", "When a certificate ends that is obtained by ACME, in seconds since 1970; 0 where there is none.", "name"),
		unobtained:  desc("certificate_failures", "Attempts to obtain a certificate by ACME that failed, since the last that did not.", "name"),
		ahead:       desc("cache_prefetches_total", "Look-ups of a channel for answers that were still good.", "channel"),
		queries:     desc("dns_queries_total", "Queries that the DNS door has read.", "transport"),
		dropped:     desc("dns_dropped_total", "Queries and connections at the DNS door that no channel was asked for: malformed, of clients that are not served, over a limit or a rate, or too slow.", "reason"),
		leaktest:    newLeakTestDescs(),
		guard:       newGuardDescs(),
		truncated:   desc("dns_truncated_total", "Answers of the DNS door that did not fit into a datagram."),
	}
}

// Describe implements [prometheus.Collector].
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.ready, c.connections, c.tunnels, c.turned, c.datagrams, c.trapped, c.up, c.sees, c.may, c.identities,
		c.members, c.left, c.dials, c.failures,
		c.entries, c.octets, c.most, c.hits, c.misses, c.stale, c.evicted, c.ahead,
		c.queries, c.dropped, c.truncated, c.handshake, c.sent, c.received, c.secured, c.expiry, c.unobtained,
	} {
		ch <- d
	}
	c.leaktest.describe(ch)
	c.guard.describe(ch)
}

// Collect implements [prometheus.Collector].
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s := c.state()
	gauge(c.ready, truth(s.Ready))
	gauge(c.connections, float64(s.Connections))
	gauge(c.tunnels, float64(s.Tunnels))
	counter(c.turned, s.OverLimit, "limit")
	counter(c.turned, s.Unknown, "protocol")
	counter(c.turned, s.Faults, "fault")
	for _, one := range s.Certificates {
		at := 0.0
		if !one.NotAfter.IsZero() {
			at = float64(one.NotAfter.Unix())
		}
		gauge(c.expiry, at, one.Name)
		gauge(c.unobtained, float64(one.Failures), one.Name)
	}
	c.leaktest.collect(ch, s.LeakTest)
	c.guard.collect(ch, s.Guard)
	for listener, n := range s.Handshakes {
		counter(c.secured, n, listener)
	}
	for _, d := range s.Datagrams {
		counter(c.datagrams, d.Number, string(d.Door), d.Reason)
	}
	counter(c.trapped, wire.Trapped())
	if s.DNS != nil {
		for transport, n := range s.DNS.Queries {
			counter(c.queries, n, transport)
		}
		for reason, n := range s.DNS.Dropped {
			counter(c.dropped, n, reason)
		}
		counter(c.truncated, s.DNS.Truncated)
	}
	for _, channel := range s.Channels {
		if channel.Identities > 0 || len(channel.Upstreams) > 0 {
			gauge(c.identities, float64(channel.Identities), channel.Name)
		}
		c.pool(channel, gauge, counter)
		for i, up := range channel.Upstreams {
			gauge(c.up, truth(up), channel.Name, strconv.Itoa(i+1))
		}
		for i, p := range channel.Peers {
			peer := strconv.Itoa(i + 1)
			if p.Age >= 0 {
				gauge(c.handshake, p.Age.Seconds(), channel.Name, peer)
			}
			counter(c.sent, p.Sent, channel.Name, peer)
			counter(c.received, p.Received, channel.Name, peer)
		}
		if len(channel.Upstreams) == 0 {
			continue
		}
		gauge(c.sees, float64(channel.SeesName), channel.Name)
		gauge(c.may, float64(len(channel.Upstreams)), channel.Name)
		k := channel.Cache
		gauge(c.entries, float64(k.Entries), channel.Name)
		gauge(c.octets, float64(k.Octets), channel.Name)
		gauge(c.most, float64(k.MaxOctets), channel.Name)
		counter(c.hits, k.Hits, channel.Name)
		counter(c.misses, k.Misses, channel.Name)
		counter(c.stale, k.Stale, channel.Name)
		counter(c.evicted, k.Evicted, channel.Name)
		counter(c.ahead, k.Prefetched, channel.Name)
	}
}

// pool tells of the pool of a channel that has one.
func (c *stateCollector) pool(of ChannelState, gauge func(*prometheus.Desc, float64, ...string), counter func(*prometheus.Desc, uint64, ...string)) {
	if len(of.Members) == 0 {
		return
	}
	usable := 0
	for i, m := range of.Members {
		if m.Usable {
			usable++
		}
		if i < mostMembers {
			counter(c.dials, m.Dials, of.Name, strconv.Itoa(i+1), m.Host)
			counter(c.failures, m.Failures, of.Name, strconv.Itoa(i+1), m.Host)
		}
	}
	gauge(c.members, float64(usable), of.Name, "usable")
	gauge(c.members, float64(len(of.Members)-usable), of.Name, "resting")
	counter(c.left, of.PoolRefused, of.Name)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
