// Package memory is an internet in memory, for tests under testing/synctest: resolvers, upstream proxies and origins
// that fail as they are told, an ISP that answers every plain-text query, and an onlooker who sees each dial and
// each octet.
//
// It promises that a leak succeeds, so that it is caught and does not merely time out: whoever is asked in clear
// text answers, and every resolver knows every name. It opens no socket.
package memory

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"watertight/lab/dnstest"
)

// Program is the party whose ground the program under test stands on.
const Program = "program"

// ISP is the party that answers every query in clear text, whatever address it was sent to.
const ISP = "isp"

// Internet is one internet. Make it with [New], inside the bubble that uses it.
type Internet struct {
	net  dnstest.Net
	zone dnstest.Zone
	auth *Authority

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	links     []*link
	learned   []fact
	resolvers []*Resolver
	closers   []func()
}

// fact is that a party learned a name.
type fact struct{ party, name string }

// New makes an internet in which the records of zone are true.
func New(auth *Authority, zone dnstest.Zone) *Internet {
	ctx, cancel := context.WithCancel(context.Background())
	return &Internet{zone: zone, auth: auth, ctx: ctx, cancel: cancel}
}

// Close ends every server and waits until nothing of the internet runs.
func (in *Internet) Close() {
	in.cancel()
	in.mu.Lock()
	closers := in.closers
	in.closers = nil
	in.mu.Unlock()
	for _, c := range closers {
		c()
	}
	in.wg.Wait()
}

// Ground is where a party dials from.
type Ground struct {
	in    *Internet
	party string
}

// Ground gives the ground of a party.
func (in *Internet) Ground(party string) Ground { return Ground{in, party} }

// DialAddr connects to an address, and notes that the party did.
func (g Ground) DialAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	l := &link{from: g.party, to: to}
	g.in.mu.Lock()
	g.in.links = append(g.in.links, l)
	g.in.mu.Unlock()
	conn, err := g.in.dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return &tap{Conn: conn, link: l}, nil
}

func (in *Internet) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if to.Port() != plainPort {
		return in.net.DialAddr(ctx, to)
	}
	near, far := dnstest.Pipe(netip.MustParseAddrPort("192.0.2.254:49152"), to)
	in.wg.Go(func() { in.servePlain(far) })
	return near, nil
}

// Blackhole makes an address swallow every dial, or no longer.
func (in *Internet) Blackhole(at netip.AddrPort, on bool) { in.net.Blackhole(at, on) }

// Dials counts how often anybody dialled an address.
func (in *Internet) Dials(to netip.AddrPort) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := 0
	for _, l := range in.links {
		if l.to == to {
			n++
		}
	}
	return n
}

// Quiet gives a function that says what was dialled since, as text.
func (in *Internet) Quiet() func() []string {
	in.mu.Lock()
	before := len(in.links)
	in.mu.Unlock()
	return func() []string {
		in.mu.Lock()
		defer in.mu.Unlock()
		var since []string
		for _, l := range in.links[before:] {
			since = append(since, l.String())
		}
		return since
	}
}

func (in *Internet) learn(party, name string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.learned = append(in.learned, fact{party, name})
}

// Learned gives the names that a party was told or asked for, in order.
func (in *Internet) Learned(party string) []string {
	var names []string
	for _, f := range in.facts() {
		if f.party == party {
			names = append(names, f.name)
		}
	}
	return names
}

// facts is what everybody has learned.
func (in *Internet) facts() []fact {
	in.mu.Lock()
	all, resolvers := slices.Clone(in.learned), slices.Clone(in.resolvers)
	in.mu.Unlock()
	for _, r := range resolvers {
		for _, q := range r.Log() {
			all = append(all, fact{r.Name, q.Name})
		}
	}
	return all
}

// listen accepts connections at an address until the function that it gives is called, or the internet is closed.
func (in *Internet) listen(at netip.AddrPort, serve func(net.Conn)) (stop func()) {
	l := in.net.Listen(at)
	in.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			in.wg.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(in.ctx, func() { conn.Close() })()
				serve(conn)
			})
		}
	})
	return func() { l.Close() }
}

func (in *Internet) onClose(f func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closers = append(in.closers, f)
}

// Origin answers at an address with a word on a line, and then with what it was sent.
func (in *Internet) Origin(at, word string) {
	in.onClose(in.listen(netip.MustParseAddrPort(at), func(conn net.Conn) {
		if _, err := fmt.Fprintln(conn, word); err == nil {
			echo(conn)
		}
	}))
}
