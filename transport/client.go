package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"watertight/clock"
	"watertight/dnswire"
	"watertight/upstream"
)

// Dial connects to an address. It is a channel's: the only way a client has to send anything.
type Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)

// Way is the way out of a channel: what a client sends, it sends over it.
type Way struct {
	// Dial connects.
	Dial Dial
	// DialPacket opens a flow of datagrams: each Write sends one, each Read gives one of that address's. It is nil where
	// the channel carries none.
	DialPacket Dial
	// PacketRoom is how many octets a datagram may have at least; 0 where that is not known.
	PacketRoom int
	// Lookup gives the addresses of an upstream that is known by its name alone: the channel underneath resolves it. It is
	// nil where nothing underneath does.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Plain and PlainPacket are Dial and DialPacket to a name service in clear text, inside a tunnel and nowhere else. They
	// are nil everywhere but in a tunnel's own resolver, and there too unless the configuration asks for them.
	Plain, PlainPacket Dial
}

// Options says over what an upstream is asked, and with how much patience. All of it is required but DNSSEC, Floor and
// Records.
type Options struct {
	// Way is where everything goes that is sent to the upstream.
	Way Way
	// Now is the clock for back-off and certificates.
	Now func() time.Time
	// Floor is what is known of the time: by a clock that is behind it no connection is made, since a certificate that has
	// expired would be good again. Certificates that are good raise it. Nil knows nothing.
	Floor *clock.Floor
	// Timeout bounds the making of a connection, all addresses of the upstream together.
	Timeout time.Duration
	// IdleTimeout is after how long an unused connection is closed.
	IdleTimeout time.Duration
	// DNSSEC asks for signatures and proofs, and for answers that the upstream holds for bogus too: whoever sets it
	// validates.
	DNSSEC bool
	// Records asks the upstream for the SVCB or HTTPS record of its own name, once it has proved who it is, and does as it
	// says: about Encrypted Client Hello, and about HTTP/3.
	Records bool
}

func (o *Options) validate() error {
	switch {
	case o.Way.Dial == nil:
		return errors.New("an upstream is asked only over a dial function")
	case o.Now == nil:
		return errors.New("an upstream is asked only with a clock")
	case o.Timeout <= 0 || o.IdleTimeout <= 0:
		return errors.New("a time-out that is not positive")
	}
	return nil
}

// Client is one upstream at work. Its methods may be called from many goroutines. Nothing runs before the first
// question; Close ends everything.
type Client struct {
	up      upstream.Upstream
	options Options
	opener  opener

	ctx    context.Context // ends with the Client
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the Client, and every question under way

	links    links
	notice   *notice
	health   health
	lastGood atomic.Int32 // index of the address that served last
}

// New makes a client of an upstream, and connects to nothing yet. The upstream's kind has to be one that is carried.
func New(u upstream.Upstream, o Options) (*Client, error) {
	if err := u.Validate(); err != nil {
		return nil, err
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	open, ok := openers[u.Kind]
	switch {
	case !ok:
		return nil, fmt.Errorf("upstreams of the kind %q are not carried", u.Kind)
	case u.Named.IsValid() && o.Way.Lookup == nil:
		return nil, fmt.Errorf("it is given by its name, %v, and no channel underneath looks names up", u.Named.Host())
	case u.Kind.Tunnel() && (o.Way.Plain == nil || o.Way.PlainPacket == nil):
		return nil, ErrPlain
	case u.Kind.Packets() && o.Way.DialPacket == nil:
		return nil, fmt.Errorf("%s travels in datagrams, and the way out carries none", u.Kind.Name())
	}
	c := &Client{up: u, options: o}
	c.notice = newNotice(c)
	c.links = links{c: c, freed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	var err error
	if c.opener, err = open(c); err != nil {
		c.cancel()
		return nil, err
	}
	return c, nil
}

// Upstream is what the client asks.
func (c *Client) Upstream() upstream.Upstream { return c.up }

// Ask puts one question to the upstream, whether or not it is Blocked, and gives its reply whatever the response code.
// A connection that breaks under the question is replaced by a fresh one, once. ctx should have a deadline: there is
// no other for the reply. An upstream that replied is asked for the record of its own name too, where Options.Records says so.
func (c *Client) Ask(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	a, fail := c.ask(ctx, q)
	if fail == nil {
		c.notice.look()
	}
	return a, fail
}

func (c *Client) ask(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	if !c.links.enter() {
		return nil, closed()
	}
	defer c.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	started := c.now()
	c.health.sent()
	var after uint64
	for again := true; ; again = false {
		s, fail := c.links.take(ctx, after)
		if fail != nil {
			if expired(ctx) {
				c.health.unanswered(started, c.now(), fail)
			}
			return nil, fail
		}
		a, fail := s.exchange(ctx, q)
		late := expired(ctx)
		if fail != nil && fail.broken && (ctx.Err() != nil || late) {
			fail = c.timeout(fail.Fault) // another question's end closed the connection at the same moment
		}
		if c.book(s, started, fail, late, ctx.Err() != nil) && again {
			after = s.seq
			continue
		}
		if fail != nil && fail.broken {
			c.health.failed(started, c.now(), fail)
		}
		return a, fail
	}
}

// book books the end of a question that was asked over s: late says that its time was over, and gone that nobody waited
// any more. It says whether the connection broke under the question, which is not booked as a failure of the upstream.
func (c *Client) book(s *slot, started time.Time, fail *Failure, late, gone bool) (broke bool) {
	replied := fail == nil || fail.Final && !fail.unsent
	c.links.give(s, replied)
	switch {
	case replied:
		c.health.replied(started, c.now())
	case fail.unsent:
	case fail.broken:
		c.links.retire(s)
		return true
	case !gone && !late: // the server did answer, but not with DNS
		c.health.failed(started, c.now(), fail)
	case late && c.links.silentSince(s, started):
		c.links.retire(s)
		c.health.unanswered(started, c.now(), fail)
	}
	return false
}

// expired says that the time of ctx is over. What waits for the same deadline may notice it before ctx does.
func expired(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return ctx.Err() == context.DeadlineExceeded || ctx.Err() == nil && limited && !time.Now().Before(deadline)
}

// query is the message that asks q, padded to a multiple of padTo octets; 0 is no padding.
func (c *Client) query(q dnswire.Question, id uint16, padTo int) ([]byte, error) {
	return dnswire.QueryWith(q, id, dnswire.QueryOptions{PadTo: padTo, DNSSEC: c.options.DNSSEC})
}

// Blocked gives the last failure while it is remembered, and for how long still; nil where the upstream may be asked.
// It is for those who can ask somebody else: Ask does not look at it.
func (c *Client) Blocked(now time.Time) (*Failure, time.Duration) { return c.health.blocked(now) }

// Stats gives figures of this moment.
func (c *Client) Stats(now time.Time) Stats {
	s := Stats{Upstream: c.up.Text, Host: c.up.Host, Kind: c.up.Kind}
	s.Conns, s.InFlight = c.links.load()
	speaks := c.links.spoken()
	s.Protocol, s.ECH = speaks.protocol, speaks.ech
	c.health.stats(&s, now)
	return s
}

// Flush leaves the connections and forgets what would link those that come with those that were. It may be asked again
// at once, whatever failed before. Questions under way end as they would have.
func (c *Client) Flush() {
	c.opener.forget()
	c.notice.forget()
	c.links.flush()
	c.health.forgive()
}

// Close ends every question and every connection, and waits until nothing of the client runs.
func (c *Client) Close() {
	c.cancel()
	c.links.close()
	c.wg.Wait()
}

func (c *Client) now() time.Time { return c.options.Now() }
