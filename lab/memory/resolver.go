package memory

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/lab/dnstest"
)

// Ports of the encrypted transports.
const (
	PortDoT = 853
	PortDoH = 443
)

// Authority is the certificates that resolvers show. Making them costs time, and they may be shared by all tests.
type Authority struct {
	CA        *dnstest.CA
	good      tls.Certificate
	expired   tls.Certificate
	wrongName tls.Certificate
	unknown   tls.Certificate
	Foreign   string // the pin of an authority that signed none of them
}

// NewAuthority makes certificates for resolvers of these names and addresses.
func NewAuthority(names []string, ips []netip.Addr) *Authority {
	other := dnstest.NewCA()
	ca := dnstest.NewCA()
	return &Authority{
		CA:        ca,
		good:      ca.Issue(names, ips),
		expired:   ca.IssueLeaf(dnstest.Leaf{Names: names, IPs: ips, NotAfter: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}),
		wrongName: ca.Issue([]string{"somebody.else.net"}, nil),
		unknown:   other.Issue(names, ips),
		Foreign:   other.Pin(),
	}
}

// Resolver is an encrypted resolver that speaks DoT and DoH at one address.
type Resolver struct {
	Name string
	Addr netip.Addr

	in   *Internet
	zone dnstest.Zone

	mu   sync.Mutex
	dot  *dnstest.Server
	doh  *dnstest.Server
	stop []func()        // what listens instead of them
	past []dnstest.Query // what servers that are closed were asked
}

// Fault is one way in which a resolver fails. The zero Fault is none.
type Fault struct {
	// Gone makes the resolver refuse connections, Black swallow them, Mute accept them and say nothing.
	Gone, Black, Mute bool
	// TLS changes what the resolver shows of itself.
	TLS func(*Authority, *tls.Config)
	// Answers changes what it answers.
	Answers func(dnstest.Handler) dnstest.Handler
	// Warm keeps the connections that are open: the fault is in the answers alone.
	Warm bool
}

// Resolver starts a resolver, which answers from the internet's zone and the records of its own.
func (in *Internet) Resolver(name string, at netip.Addr, own ...string) *Resolver {
	r := &Resolver{Name: name, Addr: at, in: in, zone: slices.Concat(in.zone, own)}
	r.start(Fault{}, r.zone.Handler())
	in.mu.Lock()
	in.resolvers = append(in.resolvers, r)
	in.mu.Unlock()
	in.onClose(r.close)
	return r
}

// Fail makes the resolver fail, or work again after a Fault{}.
func (r *Resolver) Fail(f Fault) {
	h := r.zone.Handler()
	if f.Answers != nil {
		h = f.Answers(h)
	}
	r.mu.Lock()
	dot, doh := r.dot, r.doh
	r.mu.Unlock()
	if f.Warm && dot != nil {
		dot.Handle(h)
		doh.Handle(h)
		return
	}
	r.close()
	r.start(f, h)
}

// At gives the resolver's sockets.
func (r *Resolver) At() (dot, doh netip.AddrPort) {
	return netip.AddrPortFrom(r.Addr, PortDoT), netip.AddrPortFrom(r.Addr, PortDoH)
}

func (r *Resolver) start(f Fault, h dnstest.Handler) {
	dot, doh := r.At()
	r.in.Blackhole(dot, f.Black)
	r.in.Blackhole(doh, f.Black)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case f.Gone, f.Black:
		return
	case f.Mute:
		for _, at := range []netip.AddrPort{dot, doh} {
			r.stop = append(r.stop, r.in.listen(at, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }))
		}
		return
	}
	tweak := func(c *tls.Config) {
		c.CurvePreferences = []tls.CurveID{tls.X25519} // the cheapest
		if f.TLS != nil {
			f.TLS(r.in.auth, c)
		}
	}
	r.dot = dnstest.ServeDoT(r.in.net.Listen(dot), r.in.auth.good, h, tweak)
	r.doh = dnstest.ServeDoH(r.in.net.Listen(doh), r.in.auth.good, h, tweak)
}

func (r *Resolver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range []*dnstest.Server{r.dot, r.doh} {
		if s != nil {
			_ = s.Close() // its connections end with it
			r.past = append(r.past, s.Log()...)
		}
	}
	r.dot, r.doh = nil, nil
	for _, stop := range r.stop {
		stop()
	}
	r.stop = nil
}

// Drop closes the resolver's connections, as a restart does.
func (r *Resolver) Drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range []*dnstest.Server{r.dot, r.doh} {
		if s != nil {
			s.DropConns()
		}
	}
}

// Log gives every query so far.
func (r *Resolver) Log() []dnstest.Query {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append([]dnstest.Query(nil), r.past...)
	for _, s := range []*dnstest.Server{r.dot, r.doh} {
		if s != nil {
			all = append(all, s.Log()...)
		}
	}
	return all
}

// Count says how often a question was asked.
func (r *Resolver) Count(name string, t dnswire.Type) int {
	n := 0
	for _, q := range r.Log() {
		if q.Name == name && q.Type == t {
			n++
		}
	}
	return n
}
