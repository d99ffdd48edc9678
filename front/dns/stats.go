package dns

import "sync/atomic"

// Stats counts what happened at a door since it was made. It holds no names and no addresses.
type Stats struct {
	Queries     map[string]uint64 `json:"queries"` // read, by transport
	Cached      uint64            `json:"cached"`  // answered at once by a [Cacher]
	Failed      uint64            `json:"failed"`  // answered with a fault
	Malformed   uint64            `json:"malformed"`
	Truncated   uint64            `json:"truncated"`
	Strangers   uint64            `json:"strangers"`    // datagrams and connections of clients that are not served
	RateLimited uint64            `json:"rate_limited"` // queries over a client's rate
	Busy        uint64            `json:"busy"`         // queries and connections over a limit of the door
	BadCookies  uint64            `json:"bad_cookies"`
	CutOff      uint64            `json:"cut_off"`    // connections ended because the client was too slow or broke a rule
	Handshakes  uint64            `json:"handshakes"` // of TLS and QUIC that failed; CutOff has them too
	Panics      uint64            `json:"panics"`
	WPAD        uint64            `json:"wpad"`        // queries by which a program looks for its proxy: a name whose first label is wpad
	Waiting     int64             `json:"waiting"`     // queries that wait for the handler now
	Connections int64             `json:"connections"` // open now
}

// Dropped gives what was not answered by the handler, by reason. What a handler says is not in it.
func (s Stats) Dropped() map[string]uint64 {
	return map[string]uint64{
		"malformed": s.Malformed, "stranger": s.Strangers, "rate": s.RateLimited, "limit": s.Busy, "cookie": s.BadCookies,
		"slow": s.CutOff, "fault": s.Panics,
	}
}

type counters struct {
	queries                                                                                        [protos]atomic.Uint64
	cached, failed, malformed, truncated, strangers, rateLimited, busy, badCookies, panics, cutOff atomic.Uint64
	handshakes, wpad                                                                               atomic.Uint64
	waiting, connections                                                                           atomic.Int64
}

// Stats gives the counts.
func (d *Door) Stats() Stats {
	c := &d.stats
	s := Stats{
		Queries:     map[string]uint64{},
		Cached:      c.cached.Load(),
		Failed:      c.failed.Load(),
		Malformed:   c.malformed.Load(),
		Truncated:   c.truncated.Load(),
		Strangers:   c.strangers.Load(),
		RateLimited: c.rateLimited.Load(),
		Busy:        c.busy.Load(),
		BadCookies:  c.badCookies.Load(),
		CutOff:      c.cutOff.Load(),
		Handshakes:  c.handshakes.Load(),
		Panics:      c.panics.Load(),
		WPAD:        c.wpad.Load(),
		Waiting:     c.waiting.Load(),
		Connections: c.connections.Load(),
	}
	for p := range protos {
		s.Queries[p.String()] = c.queries[p].Load()
	}
	return s
}
