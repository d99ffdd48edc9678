package event

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"watertight/fault"
)

// Tally counts the requests that were refused or failed, by code. It may be used from many goroutines; the zero Tally is empty.
type Tally struct {
	mu    sync.Mutex
	codes map[fault.Code]int
}

var _ Sink = (*Tally)(nil)

// Request counts one that has a code.
func (t *Tally) Request(r *Request) {
	if r.Code == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.codes == nil {
		t.codes = map[fault.Code]int{}
	}
	t.codes[r.Code]++
}

// Tunnel counts nothing.
func (t *Tally) Tunnel(*Tunnel) {}

// Lookup counts nothing: what a request got from it is counted there.
func (t *Tally) Lookup(*Lookup) {}

// String gives how many there were of each code, as "DNS_NXDOMAIN 1, POLICY_PLAIN_HTTP 3"; empty for none.
func (t *Tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, code := range slices.Sorted(maps.Keys(t.codes)) {
		all = append(all, fmt.Sprintf("%s %d", code, t.codes[code]))
	}
	return strings.Join(all, ", ")
}
