package daemon

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"watertight/event"
	"watertight/leaktest"
)

// testClients are the sockets of this process by which a test of the program comes in at its own doors. What comes from them
// is asked by nobody: it tells nothing of the clients, who would be taken for leaky by what the test tries on purpose.
type testClients struct {
	some atomic.Bool // the map is not empty
	mu   sync.RWMutex
	at   map[netip.AddrPort]leaktest.Taken // what was decided of them last
}

// dialled remembers a socket until forget.
func (c *testClients) dialled(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	if at, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.at == nil {
			c.at = make(map[netip.AddrPort]leaktest.Taken)
		}
		c.at[unmapped(at)] = leaktest.Taken{}
		c.some.Store(true)
	}
	return conn, nil
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
	_, ok := c.at[unmapped(at)]
	return ok
}

// tells remembers what was decided of a request from one of them. It says false for one of a client.
func (c *testClients) tells(r *event.Request) bool {
	if !c.has(r.Client) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.at[unmapped(r.Client)]; ok {
		c.at[unmapped(r.Client)] = leaktest.Taken{Door: r.Door, Channel: r.Channel, Code: r.Code}
	}
	return true
}

// took gives what was decided last of what came from there.
func (c *testClients) took(at netip.AddrPort) leaktest.Taken {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.at[unmapped(at)]
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
