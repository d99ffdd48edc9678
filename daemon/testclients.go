package daemon

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"watertight/event"
	"watertight/leaktest"
)

// testClients are the sockets of this process by which a test of the program comes in at its own doors. What comes from them
// is asked by nobody: it tells nothing of the clients, who would be taken for leaky by what the test tries on purpose.
type testClients struct {
	some atomic.Bool // the map is not empty
	mu   sync.RWMutex
	at   map[netip.AddrPort]*testClient
}

// testClient is one of these sockets.
type testClient struct {
	net.Conn
	of    *testClients
	taken leaktest.Taken // what was decided of it last
	ended time.Time      // when it was closed; zero: it is open
}

// testLate is how long after its end a door may still decide about what came from a socket. Then its port is another program's.
const testLate = 10 * time.Second

// dialled remembers a socket for as long as it is open and somewhat longer, until forget at most.
func (c *testClients) dialled(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return conn, nil //nolint:nilerr // it has no port
	}
	one := &testClient{Conn: conn, of: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = make(map[netip.AddrPort]*testClient)
	}
	c.at[unmapped(at)] = one
	c.some.Store(true)
	return one, nil
}

// Close ends the socket.
func (t *testClient) Close() error {
	err := t.Conn.Close()
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	if t.ended.IsZero() {
		t.ended = time.Now()
	}
	return err
}

// find gives the socket of a port, unless that is another's by now. c.mu is held.
func (c *testClients) find(at netip.AddrPort) *testClient {
	one := c.at[unmapped(at)]
	if one == nil || !one.ended.IsZero() && time.Since(one.ended) >= testLate {
		return nil
	}
	return one
}

// forget is for the end of a test: the ports are other programs' then.
func (c *testClients) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.at)
	c.some.Store(false)
}

func (c *testClients) has(at netip.AddrPort) bool {
	if !c.some.Load() {
		return false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.find(at) != nil
}

// tells remembers what was decided of a request from one of them. It says false for one of a client.
func (c *testClients) tells(r *event.Request) bool {
	if !c.has(r.Client) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.find(r.Client)
	if one != nil {
		one.taken = leaktest.Taken{Door: r.Door, Channel: r.Channel, Code: r.Code}
	}
	return one != nil
}

// took gives what was decided last of what came from there.
func (c *testClients) took(at netip.AddrPort) leaktest.Taken {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if one := c.find(at); one != nil {
		return one.taken
	}
	return leaktest.Taken{}
}

func unmapped(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// ofUsers is a sink that is told of the requests of users alone.
type ofUsers struct {
	event.Sink
	but *testClients
}

// Request passes on what did not come from a test.
func (s ofUsers) Request(r *event.Request) {
	if !s.but.tells(r) {
		s.Sink.Request(r)
	}
}
