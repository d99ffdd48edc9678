package internet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"watertight/wire"
)

// ErrEndedEarly is returned for a program that ended while it was waited for.
var ErrEndedEarly = errors.New("it ended")

// startLimit is how long a program may take to be ready.
const startLimit = 20 * time.Second

const pollEvery = 20 * time.Millisecond

// Dial connects from the host to an address.
func (h *Host) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = wire.Dialer{}.DialAddr(ctx, to)
		return err
	})
	return conn, err
}

// DialAddr is Dial, for those who ask for a ground to stand on.
func (h *Host) DialAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return h.Dial(ctx, to)
}

// DialUDP opens a flow of datagrams from the host to an address.
func (h *Host) DialUDP(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	var flow *net.UDPConn
	err := h.Do(func() (err error) {
		flow, err = wire.DialUDP(to)
		return err
	})
	if err != nil { // a nil *net.UDPConn would be a net.Conn
		return nil, err
	}
	return flow, nil
}

// AwaitOutput waits until the program has written text, and gives all that it wrote.
func (p *Process) AwaitOutput(ctx context.Context, text string) (Result, error) {
	err := p.await(ctx, fmt.Sprintf("write %q", text), func() bool { return strings.Contains(p.Sofar().Text(), text) })
	return p.Sofar(), err
}

// AwaitTCP waits until the program accepts connections at an address of its host. The address is looked at, not
// connected to.
func (p *Process) AwaitTCP(ctx context.Context, at netip.AddrPort) error {
	return p.await(ctx, fmt.Sprintf("listen on %v", at), func() bool {
		open := false
		_ = p.host.Do(func() error {
			open = listening(at)
			return nil
		})
		return open
	})
}

// await waits until the program is ready, and says what it was to do if it does not become so.
func (p *Process) await(ctx context.Context, what string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("internet: %s did not %s in time; it wrote:\n%s", p.name, what, p.Sofar().Text())
		case <-p.done:
			return fmt.Errorf("internet: %s was to %s: %w; it wrote:\n%s", p.name, what, ErrEndedEarly, p.Sofar().Text())
		case <-tick.C:
		}
	}
	return nil
}
