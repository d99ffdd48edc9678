package hop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"watertight/clock"
	"watertight/connect"
	"watertight/fault"
	"watertight/name"
	"watertight/trust"
)

// maxAddresses bounds how many addresses of a later proxy are tried, one after the other.
const maxAddresses = 4

// MaxProxies bounds a chain: each proxy costs a round trip at least.
const MaxProxies = 16

// Under is what a chain stands on: the channel underneath, and the time.
type Under struct {
	// First dials the first proxy, as name or address.
	First Dialer
	// Packets is how datagrams leave, to an address, or to a name where First takes names of relays; nil where none do.
	Packets PacketDialer
	// Lookup resolves the name of a later one, because the proxy before it is not trusted with names.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Now is the clock by which certificates are checked.
	Now func() time.Time
	// Floor is what is known of the time: by a clock that is behind it no proxy proves who it is. Nil knows nothing.
	Floor *clock.Floor
	// Reach is how long a proxy over QUIC may take to accept a connection; 0 means [HandshakeLimit].
	Reach time.Duration
}

// Chain leads through proxies, first hop first. The last one gets the target as it is.
//
// A fault names a proxy by host and port. HOP_REFUSED and HOP_AUTH are about a proxy of the chain, the others about
// the target.
func Chain(u Under, proxies []Proxy) (*Chained, error) {
	switch {
	case u.First == nil:
		return nil, errors.New("hop: a chain needs a dialer for its first proxy")
	case u.Lookup == nil:
		return nil, errors.New("hop: a chain needs a look-up for its proxies")
	case u.Now == nil:
		return nil, errors.New("hop: a chain needs a clock for the certificates of its proxies")
	case len(proxies) == 0:
		return nil, errors.New("hop: a chain needs a proxy")
	case len(proxies) > MaxProxies:
		return nil, fmt.Errorf("hop: a chain of %d proxies, and at most %d are allowed", len(proxies), MaxProxies)
	}
	if err := Linked(proxies); err != nil {
		return nil, fmt.Errorf("hop: %w", err)
	}
	c := &Chained{first: u.First, packets: u.Packets, lookup: u.Lookup}
	for i, p := range proxies {
		l, err := newLink(p, u)
		if err == nil {
			err = c.datagramsFor(l, proxies[:i])
		}
		if err != nil {
			return nil, fmt.Errorf("hop: proxy %d of the chain: %w", i+1, err)
		}
		c.links = append(c.links, l)
	}
	return c, nil
}

// Linked refuses a chain in which a proxy cannot be asked for the next one, or does not carry what that travels in.
func Linked(proxies []Proxy) error {
	for i, next := range proxies {
		if next.Scheme == SchemeH3 {
			if p, blocked := Blocker(proxies[:i]); blocked {
				return fmt.Errorf("the proxy %v travels in datagrams, and the hop %v before it carries connections only", next, p)
			}
			if RoomBehind(0, proxies[:i]) < MinRoom {
				return fmt.Errorf("the proxy %v travels in datagrams of %d octets, and the hops before it leave room for fewer", next, MinRoom)
			}
		}
		if a, ok := next.Host.Addr(); ok && i > 0 && a.Is6() && !proxies[i-1].CarriesIPv6() {
			return fmt.Errorf("the proxy %v cannot be asked for the next one, %v: its protocol has no IPv6", proxies[i-1], next)
		}
	}
	return nil
}

// Chained is a way out through a chain of proxies.
type Chained struct {
	first   Dialer
	packets PacketDialer // nil where there is none
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	links   []*link
}

// link is one proxy of a chain, ready to be spoken to.
type link struct {
	Proxy
	at          name.Target
	label       string        // `the proxy HOST:PORT`
	credentials string        // the value of Proxy-Authorization, empty for none
	trusted     *trust.Client // nil where the scheme has no TLS
	mux         *mux          // nil where each tunnel has a connection of its own
	h3          *h3           // nil where the proxy is reached over a connection
	reach       time.Duration // for a connection of QUIC to it
}

func newLink(p Proxy, u Under) (*link, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if !p.Template.IsZero() {
		return nil, fmt.Errorf("%w: its template is not filled in", ErrCredential)
	}
	at, err := p.target()
	if err != nil {
		return nil, err
	}
	l := &link{Proxy: p, at: at, label: "the proxy " + at.String(), reach: cmp.Or(u.Reach, HandshakeLimit)}
	if p.User != "" {
		l.credentials = connect.Credentials(p.User, p.Password)
	}
	if p.Encrypted() {
		if l.trusted, err = p.Server.Client(u.Now, u.Floor, protocols(p.Scheme)...); err != nil {
			return nil, err
		}
	}
	if p.Scheme == SchemeH2 {
		l.mux = &mux{book[*muxConn]{l: l}}
	}
	return l, nil
}

// Close takes no more targets. Connections that Dial gave stay open, and those that carry several close with the last.
func (c *Chained) Close() error {
	for _, l := range c.links {
		if l.mux != nil {
			l.mux.close()
		}
		if l.h3 != nil {
			l.h3.close()
		}
	}
	return nil
}

// Forget leaves connections that carry several tunnels to those that they have, and drops TLS sessions: what is dialled next
// is linked to nothing before it.
func (c *Chained) Forget() {
	for _, l := range c.links {
		if l.mux != nil {
			l.mux.forget()
		}
		if l.h3 != nil {
			l.h3.forget()
		}
		if l.trusted != nil {
			l.trusted.Forget()
		}
	}
}

// Dial connects to t through the whole chain.
func (c *Chained) Dial(ctx context.Context, t name.Target) (net.Conn, error) {
	if !t.IsValid() {
		return nil, fault.New(fault.Internal, "an invalid target reached a chain of proxies", nil)
	}
	return c.through(ctx, len(c.links)-1, t)
}

// through connects to t through the proxies up to the one with index last.
func (c *Chained) through(ctx context.Context, last int, t name.Target) (net.Conn, error) {
	l := c.links[last]
	if err := l.takes(t); err != nil { // before anything is dialled
		return nil, err
	}
	if l.mux != nil {
		return l.mux.tunnel(ctx, t, c.reaching(last))
	}
	if l.h3 != nil {
		return l.h3.tunnel(ctx, c.wayTo(last), t)
	}
	conn, err := c.reach(ctx, last)
	if err != nil {
		return nil, err
	}
	return l.tunnel(ctx, conn, t)
}

func (c *Chained) reaching(i int) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return c.reach(ctx, i) }
}

// reach connects to the proxy with index i itself.
func (c *Chained) reach(ctx context.Context, i int) (net.Conn, error) {
	l := c.links[i]
	if i == 0 {
		below := l.retold(ctx, "")
		if fault.Watched(ctx) {
			fault.Waiting(below, func() error {
				return fault.New(fault.ConnectTimeout, "no connection in time", context.DeadlineExceeded)
			})
		}
		conn, err := c.first.Dial(below, l.at)
		if err != nil {
			return nil, l.unreached(err, "")
		}
		return conn, nil
	}
	via := ", through " + c.links[i-1].label
	if _, isAddr := l.at.AddrPort(); isAddr {
		conn, err := c.through(l.retold(ctx, via), i-1, l.at)
		if err != nil {
			return nil, l.unreached(err, via)
		}
		return conn, nil
	}
	if fault.Watched(ctx) {
		fault.Waiting(l.retold(ctx, ""), func() error {
			return fault.New(fault.DNSTimeout, "no address in time", context.DeadlineExceeded)
		})
	}
	addrs, err := c.addresses(ctx, l, c.links[i-1])
	if err != nil {
		return nil, l.unreached(err, "")
	}
	for _, to := range addrs {
		var conn net.Conn
		if conn, err = c.through(l.retold(ctx, via), i-1, to); err == nil {
			return conn, nil
		}
		// Only what is wrong with this address can be better with the next one.
		if !aboutTheFarSide(err) || ctx.Err() != nil {
			break
		}
	}
	return nil, l.unreached(err, via)
}

// retold gives a context for reaching l under which what is waited for is told as a fault of l.
func (l *link) retold(ctx context.Context, via string) context.Context {
	if !fault.Watched(ctx) {
		return ctx
	}
	return fault.Retold(ctx, func(err error) error { return l.unreached(err, via) })
}

// takes refuses a target that the proxy cannot be asked for.
func (l *link) takes(t name.Target) error {
	if a, ok := t.Host().Addr(); !ok || !a.Is6() || l.CarriesIPv6() {
		return nil
	}
	f := fault.New(fault.HopRefused, l.label+" cannot be asked for an IPv6 address: it is "+schemes[l.Scheme].kind, errAnswered)
	f.Hint = "ask for a name or an IPv4 address, or give the channel a proxy that speaks SOCKS5 or HTTP"
	return f
}

// addresses resolves the name of l, and gives at least one address for which the proxy before can be asked, or an error. before
// is nil where there is none.
func (c *Chained) addresses(ctx context.Context, l, before *link) ([]name.Target, error) {
	host, _ := l.at.Host().Name()
	found, err := c.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var targets []name.Target
	if before != nil && !before.CarriesIPv6() {
		found = slices.DeleteFunc(slices.Clone(found), func(a netip.Addr) bool { return !a.Unmap().Is4() })
	}
	found = alternating(found)
	for _, a := range found[:min(len(found), maxAddresses)] {
		t, err := name.FromAddrPort(netip.AddrPortFrom(a, l.at.Port()))
		if err != nil {
			continue
		}
		targets = append(targets, t)
	}
	switch {
	case len(targets) == 0 && before == nil:
		return nil, fault.New(fault.DNSNoData, l.label+" has no address", nil)
	case len(targets) == 0:
		return nil, fault.New(fault.DNSNoData, l.label+" has no address that "+before.label+" can be asked for", nil)
	}
	return targets, nil
}

// alternating gives addresses with the families in turns (RFC 8305, section 4), so that many of one that the proxy
// before cannot reach leave room for the other.
func alternating(found []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr // that of the first address, and the other
	for _, a := range found {
		i := 0
		if a.Is4() != found[0].Is4() {
			i = 1
		}
		families[i] = append(families[i], a)
	}
	var all []netip.Addr
	for i := range found {
		for _, f := range families {
			if i < len(f) {
				all = append(all, f[i])
			}
		}
	}
	return all
}
