// Package internet is a small internet in one process tree, for tests and for the demo: hosts in network namespaces,
// an internet provider that carries, captures and reads all that the client sends, and servers to talk to.
//
// It promises that a leak succeeds: the provider answers every plaintext question, to whatever address it was sent, and
// the resolvers on the client's own loopback addresses pass on what they are asked, so that a leaking program works
// well and is caught, instead of timing out and looking sealed. It promises that every packet on the client's uplink is
// captured at both ends, from before the client has an address. Nothing in it ever leaves the machine: there is no way
// out of the namespaces. It runs without root, inside a namespace made by [contain.Private].
package internet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"watertight/capture"
	"watertight/contain"
	"watertight/lab/dnstest"
	"watertight/wire"
)

// Families says which versions of IP there are.
type Families string

// The internets that exist.
const (
	V4   Families = "v4-only"
	V6   Families = "v6-only"
	Dual Families = "dual"
)

// AllFamilies is what every case is to be run with.
func AllFamilies() []Families { return []Families{V4, V6, Dual} }

func (f Families) v4() bool { return f != V6 }
func (f Families) v6() bool { return f != V4 }

// Internet is a running internet.
type Internet struct {
	Families  Families
	Client    *Host // the host under observation; its uplink is captured
	ISP       *ISP
	Authority *Authority
	CA        *dnstest.CA // trusted by nobody unless told
	Dir       string      // for files of this internet, removed at the end

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	taps   []*tapAt

	mu      sync.Mutex
	hosts   []*Host
	closers []func()
	running map[*Process]bool
	relays  map[*Host]*Host // that of a resolver's relays, by the resolver's
}

type tapAt struct {
	*capture.Tap
	net     *contain.Net
	ifindex int
}

// New builds an internet with a client, its provider and the authoritative name server of every zone. Add the rest
// with [Internet.AddHost] and its friends.
func New(families Families) (*Internet, error) {
	in := &Internet{Families: families, CA: dnstest.NewCA(), running: map[*Process]bool{}, relays: map[*Host]*Host{}}
	in.ctx, in.cancel = context.WithCancel(context.Background())
	if err := in.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("internet: %w", err), in.Close())
	}
	return in, nil
}

func (in *Internet) build() (err error) {
	if in.Dir, err = os.MkdirTemp("", "watertight-lab-"); err != nil {
		return err
	}
	if in.ISP, err = newISP(in); err != nil {
		return err
	}
	if in.Client, err = in.addHost("client", true); err != nil {
		return err
	}
	authority, err := in.addHost("authority", false)
	if err != nil {
		return err
	}
	if in.Authority, err = newAuthority(authority); err != nil {
		return err
	}
	if err := in.ISP.serve(); err != nil {
		return err
	}
	return in.Client.serveStubs()
}

// AddHost connects one more host to the provider, with an address of its own in each family, and further public
// addresses if given.
func (in *Internet) AddHost(name string, extra ...netip.Addr) (*Host, error) {
	h, err := in.addHost(name, false, extra...)
	if err != nil {
		return nil, fmt.Errorf("internet: host %s: %w", name, err)
	}
	return h, nil
}

func (in *Internet) addHost(name string, observed bool, extra ...netip.Addr) (*Host, error) {
	in.mu.Lock()
	number := len(in.hosts) + 1
	in.mu.Unlock()
	space, err := contain.NewNet()
	if err != nil {
		return nil, err
	}
	h := newHost(in, name, number, space, observed, extra)
	if err := h.connect(observed); err != nil {
		return nil, errors.Join(err, space.Close())
	}
	in.mu.Lock()
	in.hosts = append(in.hosts, h)
	in.mu.Unlock()
	return h, nil
}

// tap captures an interface from now until Close.
func (in *Internet) tap(point string, space *contain.Net, ifindex int) error {
	t := &tapAt{net: space, ifindex: ifindex}
	err := space.Do(func() (err error) {
		t.Tap, err = capture.Open(point, ifindex)
		return err
	})
	if err != nil {
		return err
	}
	in.wg.Go(func() { _ = t.Run(in.ctx) }) // its error is kept, see Err
	in.taps = append(in.taps, t)
	return nil
}

// drainLimit is how long a tap may take to read what it has already got.
const drainLimit = 10 * time.Second

// ErrNotDrained is returned where a capture did not catch up.
var ErrNotDrained = errors.New("internet: the capture did not read everything in time")

// ErrNotTapped is returned where there is no capture: none was begun, or it has ended.
var ErrNotTapped = errors.New("internet: nothing is captured")

var nonce atomic.Uint64

// Packets gives all that crossed the client's uplink so far, as seen at both of its ends: first at the client's,
// then at the provider's. It waits until everything sent before the call has been read.
func (in *Internet) Packets() ([]capture.Packet, error) {
	if len(in.taps) == 0 {
		return nil, ErrNotTapped
	}
	var packets []capture.Packet
	for _, t := range in.taps {
		n := nonce.Add(1)
		frame, seen := t.Expect(n)
		if err := t.net.Do(func() error { return wire.SendFrame(t.ifindex, frame) }); err != nil {
			return nil, fmt.Errorf("internet: %w", err)
		}
		select {
		case <-seen:
		case <-time.After(drainLimit):
			return nil, ErrNotDrained
		case <-in.ctx.Done():
			return nil, in.ctx.Err()
		}
		if err := t.Err(); err != nil {
			return nil, err
		}
		packets = append(packets, t.Packets()...)
	}
	return packets, nil
}

// stopLimit is how long programs may take to end in order.
const stopLimit = 10 * time.Second

// StopPrograms asks every program that still runs to end, as a service manager does, waits for it, and kills what
// does not end in time. What it sends while it stops is still captured.
func (in *Internet) StopPrograms() {
	in.mu.Lock()
	var all []*Process
	for p := range in.running {
		all = append(all, p)
	}
	in.mu.Unlock()
	for _, p := range all {
		_ = p.Signal(unix.SIGTERM)
	}
	limit := time.After(stopLimit)
	for _, p := range all {
		select {
		case <-p.Done():
		case <-limit:
			p.Kill()
		}
	}
}

// Cleanup runs fn when the internet ends, the last one first.
func (in *Internet) Cleanup(fn func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closers = append(in.closers, fn)
}

// Close ends every program and server in the internet, and the captures last.
func (in *Internet) Close() error {
	in.mu.Lock()
	closers, hosts := in.closers, in.hosts
	in.closers, in.hosts = nil, nil
	in.mu.Unlock()
	for i := len(closers) - 1; i >= 0; i-- {
		closers[i]()
	}
	in.cancel()
	in.wg.Wait()
	var errs []error
	for _, t := range in.taps {
		errs = append(errs, t.Err())
	}
	in.taps = nil
	for _, h := range hosts {
		errs = append(errs, h.space.Close())
	}
	if in.ISP != nil {
		errs = append(errs, in.ISP.space.Close())
	}
	if in.Dir != "" {
		errs = append(errs, os.RemoveAll(in.Dir))
	}
	return errors.Join(errs...)
}
