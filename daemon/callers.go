package daemon

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"watertight/control"
	"watertight/event"
)

// Limits of what is known of clients that resolve by themselves.
const (
	maxCallers  = 16          // that are remembered
	callerPause = time.Second // between two looks for whose a connection is, at least: a look is one at all sockets of the host,
	callerShare = 50          // and has at most this part of the time
)

// callers remembers who asked lately for addresses that no resolver of ours gave out. It takes a sample, so that what is asked
// costs nothing: one at a time, and at most one a second. It holds no name that was asked for.
type callers struct {
	event.Discard
	next chan caller // of one at a time

	mu   sync.Mutex
	seen []control.Caller // the longest ago first
}

var _ event.Sink = (*callers)(nil)

// overTCP are the doors whose clients have a connection in the network of this program: those of contained programs are in another.
var overTCP = []event.Door{event.DoorCONNECT, event.DoorHTTP, event.DoorSOCKS4, event.DoorSOCKS5, event.DoorTransparent}

// caller is a client to be looked for.
type caller struct {
	at   netip.AddrPort
	door event.Door
	time time.Time
}

func newCallers() *callers { return &callers{next: make(chan caller, 1)} }

// Request hands a client over to be looked for, unless one is.
func (c *callers) Request(r *event.Request) {
	if !r.ClientResolved || !r.Client.IsValid() || !slices.Contains(overTCP, r.Door) {
		return
	}
	select {
	case c.next <- caller{r.Client, r.Door, time.Now()}:
	default:
	}
}

// Run looks for whose the connections are, until ctx ends. Find is [watch.Caller].
func (c *callers) Run(ctx context.Context, find func(netip.AddrPort) (process string, uid int, ok bool)) {
	for {
		var began time.Time
		select {
		case <-ctx.Done():
			return
		case one := <-c.next:
			began = time.Now()
			if process, uid, ok := find(one.at); ok {
				c.note(control.Caller{Process: process, UID: &uid, Door: string(one.door), Last: one.time.UTC().Truncate(time.Second)})
			} else if !one.at.Addr().IsLoopback() {
				c.note(control.Caller{Address: one.at.Addr().Unmap().String(), Door: string(one.door), Last: one.time.UTC().Truncate(time.Second)})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(callerPause, callerShare*time.Since(began))):
		}
	}
}

// note remembers one. Who is known already was there last now.
func (c *callers) note(one control.Caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = slices.DeleteFunc(c.seen, func(o control.Caller) bool {
		same := o.UID == nil && one.UID == nil || o.UID != nil && one.UID != nil && *o.UID == *one.UID
		return same && o.Process == one.Process && o.Address == one.Address && o.Door == one.Door
	})
	if len(c.seen) == maxCallers {
		c.seen = slices.Delete(c.seen, 0, 1)
	}
	c.seen = append(c.seen, one)
}

// all gives who was seen, the latest first.
func (c *callers) all() []control.Caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.seen)
	slices.Reverse(all)
	return all
}
