package cells

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/wire"
)

// The size of the soak in real time; WATERTIGHT_SOAK_REAL says how long it lasts. What stands in the addresses below
// holds as many members and identities.
const (
	soakVar        = "WATERTIGHT_SOAK_REAL"
	soakShort      = 4 * time.Second
	soakMembers    = 1000
	soakIdentities = 40
	soakPause      = 1600 * time.Millisecond // of one identity, between two requests, on average
	soakPort       = 3128
)

// soakResolver is the one resolver of the channel: it is behind the members, and nowhere else. soakBelow is that of the
// channel below, which stands on the host.
var (
	soakResolver = netip.MustParseAddrPort("9.9.9.9:853")
	soakBelow    = netip.MustParseAddrPort("127.0.0.1:8853")
)

// What a member does.
const (
	soakAlive = iota
	soakGone
	soakMute
	soakRude
	soakStates
)

// poolSoak is an internet on the loopback of one host: proxies that come and go, and that tell whom they were asked for.
type poolSoak struct {
	t        *testing.T
	in       *internet.Internet
	list     string
	resolver chan net.Conn // what members carry to the resolver
	done     chan struct{}
	once     sync.Once

	mu      sync.Mutex
	members [soakMembers]*soakMember
	good    int
	bad     map[string]int // by code
	changes int            // of members
	lists   int            // that were written
	packets int            // on loopback
}

type soakMember struct {
	state int
	door  net.Listener
	open  map[net.Conn]bool
}

// Accept, Close and Addr make it the listener of the resolver.
func (s *poolSoak) Accept() (net.Conn, error) {
	select {
	case c := <-s.resolver:
		return c, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}
func (s *poolSoak) Close() error   { s.once.Do(func() { close(s.done) }); return nil }
func (s *poolSoak) Addr() net.Addr { return net.TCPAddrFromAddrPort(soakResolver) }

func soakMemberAt(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 20, byte(i >> 8), byte(i)}), soakPort)
}

// soakOrigin is the address of the one target that an identity asks for; identity 0 is nobody, and asks for none.
func soakOrigin(id int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{151, 217, 113, byte(id)}), 443)
}

// soakClient is the address by which the resolver tells who asks.
func soakClient(id int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(id)}), 49152)
}

// soakUser is who an identity is: several are sessions of one user.
func soakUser(id int) string { return fmt.Sprintf("user%d-session-s%d", id%8, id) }
func soakName(id int) string { return fmt.Sprintf("host%d.%s", id, lab.Zone) }
func soakWord(id int) string { return fmt.Sprintf("for identity %d\n", id) }

// set lets a member be in a state: one that goes takes its connections with it.
func (s *poolSoak) set(i, state int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[i]
	m.state = state
	s.changes++
	if state == soakGone {
		if m.door != nil {
			_ = m.door.Close()
			m.door = nil
		}
		for c := range m.open {
			_ = c.Close()
		}
		return
	}
	if m.door != nil {
		return
	}
	err := s.in.Client.Do(func() (err error) {
		m.door, err = wire.ListenTCP(soakMemberAt(i))
		return err
	})
	if err != nil {
		s.t.Errorf("member %d: %v", i, err)
		return
	}
	go s.accept(i, m.door)
}

func (s *poolSoak) accept(i int, door net.Listener) {
	for {
		c, err := door.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			s.mu.Lock()
			m := s.members[i]
			state := m.state
			m.open[c] = true
			s.mu.Unlock()
			defer func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(m.open, c)
			}()
			s.member(c, state)
		}()
	}
}

// member is one proxy: it carries who asks for what is his, and reports who asks for anything else.
func (s *poolSoak) member(conn net.Conn, state int) {
	switch state {
	case soakMute:
		_, _ = io.Copy(io.Discard, conn)
		return
	case soakRude:
		_, _ = io.WriteString(conn, "what?\r\n\r\n")
		return
	case soakGone:
		return
	}
	r := bufio.NewReader(conn)
	request, err := http.ReadRequest(r)
	if err != nil {
		return // whoever gave up, or a probe that says nothing
	}
	b, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(request.Header.Get("Proxy-Authorization"), "Basic "))
	user, _, _ := strings.Cut(string(b), ":")
	id, of := 0, 0
	if user != "acme" {
		if n, err := fmt.Sscanf(user, "acme-user%d-s%d", &of, &id); n != 2 || err != nil || id < 1 || id > soakIdentities || of != id%8 {
			s.t.Errorf("a member was told %q", user)
			return
		}
	}
	switch {
	case request.Method == http.MethodConnect && request.Host == soakResolver.String():
		near, far := dnstest.Pipe(soakClient(id), soakResolver)
		select {
		case s.resolver <- far:
		case <-s.done:
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(near, r); near.Close() }()
		_, _ = io.Copy(conn, near)
		near.Close()
	case request.Method == http.MethodConnect && id > 0 && request.Host == soakOrigin(id).String():
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"+soakWord(id))
	default:
		s.t.Errorf("identity %d asked a member for %s %s", id, request.Method, request.Host)
	}
}

// write makes the list of the members: all of them, or that many at random.
func (s *poolSoak) write(many int) {
	var b strings.Builder
	for _, i := range rand.Perm(soakMembers)[:many] {
		fmt.Fprintf(&b, "http://acme[-{user}-{session}]:hunter2@%v\n", soakMemberAt(i))
	}
	err := os.WriteFile(s.list+".new", []byte(b.String()), 0o600)
	if err == nil {
		err = os.Rename(s.list+".new", s.list)
	}
	if err != nil {
		s.t.Error(err)
	}
	s.lists++
}

// churn lets members come and go until ctx ends, and now and then the list be another.
func (s *poolSoak) churn(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for round := 0; ; round++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for range 10 {
			state := soakAlive
			if rand.IntN(5) < 2 {
				state = 1 + rand.IntN(soakStates-1)
			}
			s.set(rand.IntN(soakMembers), state)
		}
		if round%60 == 8 {
			s.write(soakMembers/2 + rand.IntN(soakMembers/2))
		}
	}
}

// ask lets one identity ask for its target again and again until ctx ends.
func (s *poolSoak) ask(ctx context.Context, id int) {
	for ctx.Err() == nil {
		code, err := s.request(id)
		s.mu.Lock()
		if err == nil && code == "" {
			s.good++
		} else {
			s.bad[code]++
		}
		s.mu.Unlock()
		switch code {
		case "", "cut", "HOP_REFUSED!", "CONNECT_TIMEOUT!", "NOT_READY!", "DNS_TIMEOUT!", "DNS_SERVFAIL!", "RESOLVER_UNREACHABLE!":
		default:
			err = fmt.Errorf("it was refused with %s", code)
		}
		if err != nil {
			s.t.Errorf("identity %d: %v", id, err)
		}
		select {
		case <-time.After(soakPause/2 + rand.N(soakPause)):
		case <-ctx.Done():
		}
	}
}

// request is one request of an identity. The code is that of a refusal, or "cut" where the member went away under it.
func (s *poolSoak) request(id int) (code string, err error) {
	conn, err := s.in.Client.Dial(s.t.Context(), netip.MustParseAddrPort(lab.ProxyAddress))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // longer than anything that the program waits for
	credentials := base64.StdEncoding.EncodeToString([]byte(soakUser(id) + ":x"))
	fmt.Fprintf(conn, "CONNECT %[1]s:443 HTTP/1.1\r\nHost: %[1]s:443\r\nProxy-Authorization: Basic %[2]s\r\n\r\n", soakName(id), credentials)
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		_, code, _ := strings.Cut(response.Status, "(")
		code, _, _ = strings.Cut(code, ")")
		return code + "!", nil // never empty
	}
	word, err := io.ReadAll(r)
	switch {
	case string(word) == soakWord(id):
		return "", nil
	case strings.HasPrefix(soakWord(id), string(word)): // with an error or without
		return "cut", nil
	}
	return "", fmt.Errorf("it was answered as %q (%w)", word, err)
}

// watch looks at the packets on the host's loopback until ctx ends, and reports them. A tap that begins before the last
// one ends sees what is between them.
func (s *poolSoak) watch(ctx context.Context) {
	var last func() []capture.Packet
	for ctx.Err() == nil {
		end, err := s.tap()
		if err != nil {
			s.t.Error(err)
		}
		if last != nil {
			s.judge(last())
		}
		if last = end; err != nil {
			return
		}
		select {
		case <-time.After(15 * time.Second):
		case <-ctx.Done():
		}
	}
	s.judge(last())
}

// tap opens a tap on the host's loopback, and gives what ends it.
func (s *poolSoak) tap() (end func() []capture.Packet, err error) {
	var tap *capture.Tap
	if err := s.in.Client.Do(func() (err error) {
		tap, err = capture.Open("loopback", 1)
		return err
	}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tap.Run(ctx) }()
	return func() []capture.Packet {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
		return tap.Packets()
	}, nil
}

// judge reports what is on loopback besides the client, the members and the program between them, and names in clear
// that are not in what the client itself asks for.
func (s *poolSoak) judge(packets []capture.Packet) {
	strange := s.strange(packets)
	for _, p := range strange[:min(len(strange), 5)] {
		s.t.Errorf("on loopback, to no member or with a name: %v", p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets += len(packets)
}

// isMember says whether an address is that of a member.
func isMember(at netip.AddrPort) bool {
	if !at.Addr().Is4() || at.Port() != soakPort {
		return false
	}
	a := at.Addr().As4()
	return a[0] == 127 && a[1] == 20 && int(a[2])<<8|int(a[3]) < soakMembers
}

// strange gives the packets that judge reports.
func (s *poolSoak) strange(packets []capture.Packet) (strange []capture.Packet) {
	own := map[string]bool{lab.ProxyAddress: true, lab.AdminAddress: true, soakBelow.String(): true}
	for _, p := range packets {
		switch {
		case p.Proto == capture.TCP && (own[p.From.String()] || own[p.To.String()]) || p.Proto == capture.Control:
		case p.Proto != capture.TCP || !isMember(p.From) && !isMember(p.To):
			strange = append(strange, p)
		case bytes.Contains(p.Payload, []byte("example")): // in text and in DNS
			strange = append(strange, p)
		}
	}
	return strange
}
