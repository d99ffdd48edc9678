package channel

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"watertight/client"
	"watertight/fault"
	"watertight/hop"
	"watertight/lab/dnstest"
	"watertight/name"
)

// The size of the soak. Its time is that of the bubble: an hour of it takes minutes.
const (
	soakMembers    = 1000
	soakIdentities = 40
	soakShort      = 40 * time.Second
)

// soak is an internet of proxies that come and go, and that tell whom they were asked for.
type soak struct {
	t        *testing.T
	resolver chan net.Conn
	closed   chan struct{}

	mu     sync.Mutex
	state  [soakMembers]int // what a member does
	served int
}

// What a member does.
const (
	alive = iota
	gone
	mute
	rude
	states
)

// Accept, Close and Addr make it the listener of the resolver.
func (s *soak) Accept() (net.Conn, error) {
	select {
	case c := <-s.resolver:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}
func (s *soak) Close() error   { close(s.closed); return nil }
func (s *soak) Addr() net.Addr { return net.TCPAddrFromAddrPort(resolverAt) }

func memberAt(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), 3128)
}

// originOf is the address of the one target that an identity asks for; identity 0 is nobody, and asks for none.
func originOf(id int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(id)}), 443)
}

// clientOf is the address by which the resolver tells who asks.
func clientOf(id int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(id)}), 49152)
}

// DialAddr is the ground: there is nothing but members.
func (s *soak) DialAddr(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	a := to.Addr().As4()
	i := int(a[2])<<8 | int(a[3])
	if to.Port() != 3128 || a[0] != 10 || i >= soakMembers {
		s.t.Errorf("%v was dialled, which is no member of the pool", to)
		return nil, syscall.ENETUNREACH
	}
	s.mu.Lock()
	state := s.state[i]
	s.mu.Unlock()
	if state == gone {
		return nil, syscall.ECONNREFUSED
	}
	here, there := dnstest.Pipe(netip.MustParseAddrPort("192.0.2.254:1"), to)
	go s.member(there, state)
	return here, nil
}

// member is one proxy: it carries who asks for what is his, and reports who asks for anything else.
func (s *soak) member(conn net.Conn, state int) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	target, user := "", ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		if line == "" {
			break
		}
		if to, ok := strings.CutPrefix(line, "CONNECT "); ok {
			target, _, _ = strings.Cut(to, " ")
		}
		if encoded, ok := strings.CutPrefix(line, "Proxy-Authorization: Basic "); ok {
			b, _ := base64.StdEncoding.DecodeString(encoded)
			user, _, _ = strings.Cut(string(b), ":")
		}
	}
	switch state {
	case mute:
		_, _ = io.Copy(io.Discard, r)
		return
	case rude:
		_, _ = io.WriteString(conn, "what?\r\n\r\n")
		return
	}
	id := 0
	if user != "acme" {
		if n, err := fmt.Sscanf(user, "acme-user%d-s", &id); n != 1 || err != nil || id < 1 || id > soakIdentities {
			s.t.Errorf("a member was told %q", user)
			return
		}
	}
	switch {
	case target == resolverAt.String():
		near, far := dnstest.Pipe(clientOf(id), resolverAt)
		select {
		case s.resolver <- far:
		case <-s.closed:
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(near, r); near.Close() }()
		_, _ = io.Copy(conn, near)
	case id > 0 && target == originOf(id).String():
		s.mu.Lock()
		s.served++
		s.mu.Unlock()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n\r\nuser%d\n", id)
	default:
		s.t.Errorf("identity %d asked a member for %s", id, target)
	}
}

// churn lets members come and go until ctx ends, and now and then the list be another.
func (s *soak) churn(ctx context.Context, c *Channel, all []hop.Proxy) {
	for round := 0; ctx.Err() == nil; round++ {
		s.mu.Lock()
		for range 20 {
			i := rand.IntN(soakMembers)
			if s.state[i] = alive; rand.IntN(5) < 2 {
				s.state[i] = 1 + rand.IntN(states-1)
			}
		}
		s.mu.Unlock()
		if round%40 == 39 {
			some := append([]hop.Proxy(nil), all...)
			rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
			if err := c.SetMembers(some[:soakMembers/2+rand.IntN(soakMembers/2)]); err != nil {
				s.t.Error(err)
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// ask lets one identity ask for its target again and again until ctx ends. It gives how often that went well, and not.
func (s *soak) ask(ctx context.Context, c *Channel, id int) (good, bad int) {
	p := named(c, client.Identity{User: fmt.Sprintf("user%d", id), Session: "s"})
	target := name.Must(fmt.Sprintf("host%d.example.com:443", id))
	for ctx.Err() == nil {
		conn, err := p.DialChecked(ctx, target, anyAddress)
		if err != nil {
			bad++
			switch code := codeOf(err); code {
			case fault.HopRefused, fault.ConnectTimeout, fault.NotReady, fault.DNSTimeout, fault.DNSServFail, fault.ResolverUnreachable:
			default:
				s.t.Errorf("identity %d: %v", id, err)
			}
		} else {
			word, _ := io.ReadAll(conn)
			conn.Close()
			if string(word) != fmt.Sprintf("user%d\n", id) {
				s.t.Errorf("identity %d was answered as %q", id, word)
			}
			good++
		}
		select {
		case <-time.After(time.Duration(500+rand.IntN(1000)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return good, bad
}

// The pool loses and regains members at random: no request and no question goes on a wrong identity, none outside the pool, and
// nothing is left at the end. WATERTIGHT_SOAK=1h makes it an hour of the bubble's time.
func TestSoak_APoolUnderChurnMixesNobodyUp(t *testing.T) {
	lasts := soakShort
	if text := os.Getenv("WATERTIGHT_SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	before := descriptors()
	synctest.Test(t, func(t *testing.T) { soakFor(t, lasts) }) // it fails where a goroutine is left
	if now := descriptors(); now > before {
		t.Errorf("%d descriptors are left", now-before)
	}
}

func soakFor(t *testing.T, lasts time.Duration) {
	s := &soak{t: t, resolver: make(chan net.Conn), closed: make(chan struct{})}
	w := &world{ca: dnstest.NewCA(), dir: t.TempDir()}
	var zone dnstest.Zone
	for id := 1; id <= soakIdentities; id++ {
		zone = append(zone, fmt.Sprintf("host%d.example.com. 5 A %s", id, originOf(id).Addr()))
	}
	answer := zone.Handler()
	dns := dnstest.ServeDoT(s, w.ca.Issue(nil, []netip.Addr{resolverAt.Addr()}), func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
		var id int
		if n, _ := fmt.Sscanf(q.Question.Name, "host%d.example.com", &id); n == 1 && q.Client.String() != clientOf(id).String() {
			t.Errorf("%s was asked for by %v", q.Question.Name, q.Client)
		}
		return answer(ctx, q)
	})
	spec := Spec{
		Name: "pool", Pool: &hop.PoolSpec{Pick: hop.Random, List: "x", By: hop.BySession, For: 20 * time.Second, Every: 10 * time.Second, Timeout: 2 * time.Second},
		Resolver: w.resolver(t, "tls://9.9.9.9"),
	}
	for i := range soakMembers {
		spec.Pool.Members = append(spec.Pool.Members, mustProxy(t, fmt.Sprintf("http://acme[-{user}-{session}]:hunter2@%v", memberAt(i))))
	}
	c, err := Open(spec, OnGround(s))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = c.Run(ctx) })
	until, enough := context.WithTimeout(ctx, lasts)
	defer enough()
	running.Go(func() { s.churn(until, c, spec.Pool.Members) })
	good, bad := 0, 0
	var asking sync.WaitGroup
	for id := 1; id <= soakIdentities; id++ {
		asking.Go(func() {
			g, b := s.ask(until, c, id)
			s.mu.Lock()
			defer s.mu.Unlock()
			good, bad = good+g, bad+b
		})
	}
	asking.Wait()
	stop()
	running.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	dns.Close()
	if total := good + bad; good < total*3/4 || total < soakIdentities {
		t.Errorf("%d of %d requests went well", good, total)
	}
	stats, _ := c.PoolStats()
	t.Logf("%d requests went well and %d did not; %d members, %d usable, %d connections for which none was left", good, bad, len(stats.Members), stats.Usable, stats.Refused)
	for _, m := range stats.Members {
		if m.Open != 0 {
			t.Errorf("%d connections stay booked on %s", m.Open, m.Host)
		}
	}
}

// descriptors counts those that the process has open; 0 where the system does not tell.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}
