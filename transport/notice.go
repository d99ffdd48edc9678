package transport

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/name"
	"watertight/upstream"
)

// How long what an upstream says about itself holds, whatever it says.
const (
	leastNotice = time.Minute
	mostNotice  = 24 * time.Hour
	// noticeRetry is after how long the upstream is asked again that did not answer.
	noticeRetry = 5 * time.Minute
)

// How long HTTP/3 is left alone after a path for it was dead: for so long the first time, then twice as long each time.
const (
	firstPause = 5 * time.Minute
	mostPause  = 24 * time.Hour
)

// notice is what an upstream says about itself over its own authenticated connections: whether hellos to it are to be
// encrypted, by the SVCB or HTTPS record of its own name (RFC 9460, 9461, 9848), and whether it speaks HTTP/3 too, by that
// record or by Alt-Svc (RFC 7838). Names and addresses in it are never followed.
type notice struct {
	c *Client
	q dnswire.Question // for its own record; the name is "" where there is none to ask for

	mu      sync.Mutex
	era     uint64 // counts flushes
	asking  bool
	stop    context.CancelFunc // of the question under way
	due     time.Time          // when to ask for the record again
	ech     []byte             // of the record; nil where it asks for none
	echLife time.Time          // until when the record that ech is of lives
	record  offer              // of HTTP/3, in the record
	altSvc  offer              // of HTTP/3, in Alt-Svc
	pause   time.Time          // until when HTTP/3 is left alone
	pauses  int                // in a row
}

// offer is HTTP/3 at a port of the upstream's addresses.
type offer struct {
	port  uint16
	until time.Time
}

func newNotice(c *Client) *notice {
	n := &notice{c: c}
	h, err := name.ParseHost(c.up.ServerName)
	host, named := h.Name()
	if !c.options.Records || err != nil || !named || c.up.ECH != nil && !c.upgradable() {
		return n
	}
	switch c.up.Kind {
	case upstream.DoT, upstream.DoQ: // RFC 9461, section 3
		n.q = dnswire.Question{Name: "_dns." + host, Type: dnswire.SVCB}
	case upstream.DoH, upstream.DoH3, upstream.ODoH: // RFC 9460, section 9.1
		n.q = dnswire.Question{Name: host, Type: dnswire.HTTPS}
		if n.port() != 443 {
			n.q.Name = "_" + strconv.Itoa(int(n.port())) + "._https." + host
		}
	}
	return n
}

// upgradable says whether the upstream may be asked over HTTP/3, should it say so.
func (c *Client) upgradable() bool {
	return c.up.Kind == upstream.DoH && c.options.Way.DialPacket != nil
}

// port is where the upstream is, as configured.
func (n *notice) port() uint16 {
	if n.c.up.Named.IsValid() {
		return n.c.up.Named.Port()
	}
	return n.c.up.Addrs[0].Port()
}

// keys gives the ECHConfigList that a new connection is made with, or nil for none. One of the configuration is never
// replaced. One of the record holds on when the record's time is over: until the upstream, asked over the new
// connection, says something else.
func (n *notice) keys() []byte {
	if n.c.up.ECH != nil {
		return n.c.up.ECH
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ech
}

// refused books that the upstream would not have the keys of its record. As long as the record lives that changes
// nothing.
func (n *notice) refused(list []byte) {
	now := n.c.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Equal(list, n.ech) && !now.Before(n.echLife) {
		n.ech = nil
	}
}

// outdated lets the upstream be asked for its record at once.
func (n *notice) outdated() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.due = time.Time{}
}

// forget drops what belongs to the network that was, and asks for the rest again. That hellos are encrypted is not
// forgotten: on another network somebody else would read the name.
func (n *notice) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.era++
	if n.stop != nil {
		n.stop()
	}
	n.due = time.Time{}
	n.record, n.altSvc = offer{}, offer{}
	n.pause, n.pauses = time.Time{}, 0
}

// look asks the upstream for the record of its own name, where it is time to. It is called when the upstream has
// replied, so that it has proved who it is. It does not wait.
func (n *notice) look() {
	if n.q.Name == "" {
		return
	}
	now := n.c.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asking || now.Before(n.due) || !n.c.links.enter() {
		return
	}
	n.asking = true
	era := n.era
	ctx, cancel := context.WithTimeout(n.c.ctx, n.c.options.Timeout)
	n.stop = cancel
	go func() {
		defer n.c.wg.Done()
		defer cancel()
		a, fail := n.c.ask(ctx, n.q)
		if n.learn(era, a, fail) {
			n.c.upgrade()
		}
	}()
}

// learn takes what came of look. It says whether HTTP/3 is offered that was not before.
func (n *notice) learn(era uint64, a *dnswire.Answer, fail *Failure) bool {
	now := n.c.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asking = false
	switch {
	case era != n.era: // said on another network; it is asked again
		return false
	case fail != nil, a.RCode != dnswire.NoError && a.RCode != dnswire.NXDomain:
		n.due = now.Add(noticeRetry)
		return false
	}
	life := min(max(a.TTL, leastNotice), mostNotice)
	n.due = now.Add(life / 2) // before its time is over
	services := n.ours(a)
	if list := n.echOf(services); list != nil {
		n.ech, n.echLife = list, now.Add(life)
	} else if !now.Before(n.echLife) {
		n.ech = nil
	}
	before := n.http3At(now)
	n.record = offer{}
	if port := n.http3Of(services); port != 0 {
		n.record = offer{port, now.Add(life)}
	}
	after := n.http3At(now)
	return after != 0 && after != before
}

// ours gives those records that are about the upstream itself and not about another server: their target is the name
// that was asked for, or what it is an alias of.
func (n *notice) ours(a *dnswire.Answer) []dnswire.Service {
	return slices.DeleteFunc(a.Services(), func(s dnswire.Service) bool { return s.Target != a.Canonical && s.Target != a.Name })
}

// echOf gives the list of the first record that is about the very port that is dialled, and about a protocol that is
// spoken there, with keys that can be used.
func (n *notice) echOf(services []dnswire.Service) []byte {
	for _, s := range services {
		if s.ECH != nil && n.portOf(s) == n.port() && slices.ContainsFunc(n.spoken(), func(p string) bool { return offers(s, p) }) && upstream.CheckECH(s.ECH) == nil {
			return s.ECH
		}
	}
	return nil
}

// portOf is the port that a record is about: of DNS over TLS and QUIC their own, else that of the origin.
func (n *notice) portOf(s dnswire.Service) uint16 {
	switch {
	case s.Port != 0:
		return s.Port
	case n.q.Type == dnswire.SVCB:
		return 853
	}
	return n.port()
}

// spoken are the identifications of the protocols that the upstream may be asked by.
func (n *notice) spoken() []string {
	switch n.c.up.Kind {
	case upstream.DoT:
		return []string{"dot"}
	case upstream.DoQ:
		return []string{"doq"}
	case upstream.DoH3:
		return []string{"h3"}
	}
	if n.c.upgradable() {
		return []string{"h2", "http/1.1", "h3"}
	}
	return []string{"h2", "http/1.1"}
}

// offers says whether a record is about a protocol. HTTP/1.1 is the default of the scheme https (RFC 9460, section 9.5).
func offers(s dnswire.Service, protocol string) bool {
	return slices.Contains(s.ALPN, protocol) || protocol == "http/1.1" && !s.NoDefault
}

// http3Of gives the port at which the records offer HTTP/3, or 0.
func (n *notice) http3Of(services []dnswire.Service) uint16 {
	for _, s := range services {
		if n.c.upgradable() && offers(s, "h3") {
			return n.portOf(s)
		}
	}
	return 0
}

// http3At gives the port at which HTTP/3 is offered now, or 0. The caller holds mu.
func (n *notice) http3At(now time.Time) uint16 {
	for _, o := range []offer{n.altSvc, n.record} {
		if now.Before(o.until) {
			return o.port
		}
	}
	return 0
}

// http3 gives the port at which to try HTTP/3, or 0.
func (n *notice) http3() uint16 {
	now := n.c.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Before(n.pause) {
		return 0
	}
	return n.http3At(now)
}

// tried books how an attempt at HTTP/3 ended.
func (n *notice) tried(well bool) {
	now := n.c.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if well {
		n.pause, n.pauses = time.Time{}, 0
		return
	}
	n.pause = now.Add(min(mostPause, firstPause<<min(n.pauses, 16)))
	n.pauses++
}

// alternative takes an Alt-Svc field of the upstream: it replaces what the last one said (RFC 7838, section 3). It says
// whether HTTP/3 is offered that was not before.
func (n *notice) alternative(port uint16, life time.Duration) bool {
	now := n.c.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.http3At(now)
	n.altSvc = offer{port, now.Add(min(life, mostNotice))}
	after := n.http3At(now)
	return after != 0 && after != before
}
