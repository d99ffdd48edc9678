// Package dns is the door for programs that resolve by themselves: DNS over UDP and TCP, over TLS (RFC 7858), over HTTPS
// (RFC 8484: HTTP/1.1, HTTP/2 and HTTP/3), and over QUIC (RFC 9250).
//
// It promises that a query is answered, refused with a reason (RFC 8914) or not answered at all by the same rules on
// every transport; that nobody is served by accident who is not on the list of clients; that it makes no one's flood
// bigger; and that whatever it holds for a client has a limit. It sends nothing of a client onward: the handler gets
// the question alone, without subnet, cookie or padding.
//
// It never resolves, dials or opens a socket: it asks its [Handler], and serves the sockets that it is given. A panic
// takes down one query. Nothing runs but within the Serve methods, and nothing outlives them.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"watertight/dnswire"
)

// Proto is the way by which a query came in.
type Proto uint8

// The transports.
const (
	UDP    Proto = iota
	TCP          // RFC 7766
	TLS          // RFC 7858
	HTTPS        // RFC 8484 over HTTP/1.1 or HTTP/2
	HTTP3        // RFC 8484 over HTTP/3
	QUIC         // RFC 9250
	protos       // how many there are
)

// String gives the transport's name in lower case.
func (p Proto) String() string {
	if p < protos {
		return [...]string{"udp", "tcp", "tls", "https", "h3", "quic"}[p]
	}
	return fmt.Sprintf("proto %d", uint8(p))
}

// encrypted says whether nobody on the way can read the answer.
func (p Proto) encrypted() bool { return p > TCP }

// Client is who asks.
type Client struct {
	Addr  netip.AddrPort // an IPv4 address is never in its IPv6-mapped form
	Proto Proto
}

// Query is what a client asks: a question that may be answered from anywhere, and how it wants the answer.
type Query struct {
	dnswire.Question
	// DNSSEC says that the client wants signatures and proofs (DO). A handler that has none answers without them.
	DNSSEC bool
	// CheckingDisabled says that the client validates by itself and wants bogus answers too (CD).
	CheckingDisabled bool
}

// Handler answers queries.
//
//  1. An answer's question is the query's, and its Wire is set: the door says what is in that. A negative answer is an
//     answer.
//  2. Otherwise the error is a [*fault.Error]; its code decides what the client is told.
//  3. It returns when ctx ends. It may be called from many goroutines.
type Handler interface {
	Exchange(ctx context.Context, c Client, q Query) (*dnswire.Answer, error)
}

// Cacher is a handler that can say at once whether it knows the answer. It never waits: a datagram that it answers
// costs no goroutine.
type Cacher interface {
	Cached(c Client, q Query) (*dnswire.Answer, bool)
}

// Beginner is a handler that can ask for an answer without a goroutine that waits for it: a datagram costs none then.
//
//  1. It says false where it did nothing: Exchange is asked then.
//  2. Otherwise then is called once with what Exchange would give, by the time given and perhaps before Begin returns.
//  3. What calls then may hold up other replies: then waits for nothing.
type Beginner interface {
	Begin(until time.Time, c Client, q Query, then func(*dnswire.Answer, error)) bool
}

// Options are what a door is made of.
type Options struct {
	Handler   Handler
	Authority Authority    // in the place of a handler: one of the two
	Logger    *slog.Logger // told of faults of the program and of the host, never of names

	// PlainClients are who is served over UDP and TCP. None means the loopback addresses.
	PlainClients []netip.Prefix
	// Clients are who is served over TLS, HTTPS and QUIC where no certificate is demanded of them ([Credentials]). None means
	// addresses of this host, of its links and of private networks.
	Clients []netip.Prefix

	// Home says that every client is a program of this host that nobody else can pretend to be, whatever address it has: all are
	// served, and none is limited for the others' sake, as it is with those on loopback. A socket for datagrams may be handed
	// what was sent to any address then, as by TPROXY: the reply comes from there, if the socket is transparent.
	Home bool

	// ID and Version are told to who asks for id.server and version.bind in class CHAOS (RFC 4892): at most 255 octets.
	// Empty, the question is refused.
	ID, Version string
	// Path is where DNS over HTTPS is. Empty means /dns-query.
	Path string

	// Timeout bounds one query. Zero means 10 seconds.
	Timeout time.Duration
	// Idle bounds the time between two queries on a connection. Zero means 30 seconds.
	Idle time.Duration
	// Stall bounds a handshake, the rest of a message that has begun, and the time in which a client takes nothing.
	// Zero means 5 seconds.
	Stall time.Duration
	// Drain bounds the time that queries get to end by themselves when a Serve method is told to end. Zero means that
	// they get none.
	Drain time.Duration

	// Queries bounds those that wait for the handler at one time. Zero means 4096.
	Queries int
	// Pipeline bounds those of one connection. Zero means 64.
	Pipeline int
	// Connections bounds the connections at one time, over all transports. Zero means 1000.
	Connections int
	// PerClient bounds those of one IPv4 address or one IPv6 network of 64 bits that is not loopback (RFC 9210, section
	// 4.2). Zero means a quarter of Connections, at least one.
	PerClient int
	// Rate bounds the queries per second of one IPv4 address or one IPv6 network of 64 bits, with a burst of as many.
	// Clients on loopback are not counted. Zero means 1000.
	Rate int
	// Unproven is Rate for what comes over UDP without proof of its address. Zero means Rate.
	Unproven int
	// Amplification is how often its own length somebody gets by UDP who may be another's forged address. Zero means 3 (as in
	// RFC 9000, section 8.1).
	Amplification int
}

func (o *Options) validate() error {
	switch {
	case o.Handler == nil && o.Authority == nil:
		return errors.New("dns: a door needs a handler")
	case o.Handler != nil && o.Authority != nil:
		return errors.New("dns: a door has a handler or an authority, not both")
	case o.Logger == nil:
		return errors.New("dns: a door needs a logger")
	case len(o.ID) > maxTold || len(o.Version) > maxTold:
		return errTold
	case o.Path != "" && o.Path[0] != '/':
		return fmt.Errorf("dns: the path %q does not begin with a slash", o.Path)
	case o.Timeout < 0 || o.Idle < 0 || o.Stall < 0 || o.Drain < 0:
		return errors.New("dns: a time is negative")
	case o.Queries < 0 || o.Pipeline < 0 || o.Connections < 0 || o.PerClient < 0 || o.Rate < 0 || o.Unproven < 0 || o.Amplification < 0:
		return errors.New("dns: a limit is negative")
	}
	for _, p := range append(o.PlainClients[:len(o.PlainClients):len(o.PlainClients)], o.Clients...) {
		if !p.IsValid() || p.Addr().Is4In6() {
			return fmt.Errorf("dns: %v is not a network of clients", p)
		}
	}
	return nil
}

func (o *Options) fill() {
	setDefault(&o.Path, "/dns-query")
	setDefault(&o.Timeout, 10*time.Second)
	setDefault(&o.Idle, 30*time.Second)
	setDefault(&o.Stall, 5*time.Second)
	setDefault(&o.Queries, 4096)
	setDefault(&o.Pipeline, 64)
	setDefault(&o.Connections, 1000)
	setDefault(&o.PerClient, max(1, o.Connections/4))
	setDefault(&o.Rate, 1000)
	setDefault(&o.Unproven, o.Rate)
	setDefault(&o.Amplification, 3)
	if len(o.PlainClients) == 0 {
		o.PlainClients = loopback
	}
	if len(o.Clients) == 0 {
		o.Clients = near
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Door serves clients. Its methods may be called from many goroutines, and the Serve methods for several sockets at
// once: limits hold for all together.
type Door struct {
	o        Options
	told     atomic.Pointer[told]
	cacher   Cacher   // nil where the handler is none
	beginner Beginner // nil where the handler is none
	jar      jar
	rate     *limiter
	crowd    crowd
	stats    counters
}

// New checks the options.
func New(o Options) (*Door, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o.fill()
	d := &Door{o: o, jar: newJar(), rate: newLimiter(o.Rate, o.Unproven)}
	d.cacher, _ = o.Handler.(Cacher)
	d.beginner, _ = o.Handler.(Beginner)
	d.told.Store(&told{o.ID, o.Version})
	return d, nil
}

// told is what a door tells of itself.
type told struct{ id, version string }

// Tell changes [Options.ID] and [Options.Version] for queries from now on.
func (d *Door) Tell(id, version string) error {
	if len(id) > maxTold || len(version) > maxTold {
		return errTold
	}
	d.told.Store(&told{id, version})
	return nil
}

// maxTold bounds in octets what a door tells of itself: one string of a TXT record (RFC 1035, section 3.3.14).
const maxTold = 255

var errTold = errors.New("dns: what a server tells of itself has at most 255 octets")
