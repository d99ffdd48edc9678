package dnssec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"watertight/dnswire"
)

// Ask puts a question of the chain and gives the raw reply to it. The function asks with DO and CD set (see
// [dnswire.QueryOptions]), inside the channel that the first question was asked in. What it returns is checked here.
type Ask func(ctx context.Context, q dnswire.Question) (wire []byte, err error)

// Limits bounds the work for one validation and the memory of the Validator. Zero means the default.
type Limits struct {
	Lookups    int // questions of the chain for one validation; 64
	Signatures int // tries of a key on a signature for one validation; 128
	Hashes     int // NSEC3 hashes for one validation, each at most 100 iterations (CVE-2023-50868); 256
	Entries    int // names whose place in the chain is remembered; 4096
}

// Options says what a Validator trusts.
type Options struct {
	// Anchors are the trust anchors of the root; none means RootAnchors.
	Anchors []Anchor
	// NegativeAnchors are names at and below which every answer is Insecure, unseen (RFC 7646): the word of the
	// configuration that their owner broke the chain.
	NegativeAnchors []string
	// Now is the clock for signatures and for what is remembered; nil means time.Now.
	Now func() time.Time
	// Limits bounds the work.
	Limits Limits
}

// Validator judges replies. Its methods may be called from many goroutines. It runs nothing of its own.
type Validator struct {
	ask      Ask
	now      func() time.Time
	limits   Limits
	negative []name
	nodes    nodes

	mu      sync.Mutex
	anchors []Anchor
}

// New makes a Validator over the function that asks the questions of the chain.
func New(o Options, ask Ask) (*Validator, error) {
	if ask == nil {
		return nil, errors.New("a validator needs a function that asks the questions of the chain")
	}
	v := &Validator{ask: ask, now: o.Now, limits: o.Limits}
	if v.now == nil {
		v.now = time.Now
	}
	for _, l := range []struct {
		value *int
		def   int
	}{{&v.limits.Lookups, 64}, {&v.limits.Signatures, 128}, {&v.limits.Hashes, 256}, {&v.limits.Entries, 4096}} {
		if *l.value < 0 {
			return nil, errors.New("a limit of a validator is negative")
		}
		if *l.value == 0 {
			*l.value = l.def
		}
	}
	for _, s := range o.NegativeAnchors {
		n, ok := parseName(s)
		if !ok {
			return nil, fmt.Errorf("the negative trust anchor %.80q is not a name", s)
		}
		if n == root {
			return nil, errors.New("a negative trust anchor at the root would switch validation off")
		}
		v.negative = append(v.negative, n)
	}
	if len(o.Anchors) == 0 {
		o.Anchors = RootAnchors()
	}
	v.nodes.reset(v.limits.Entries)
	return v, v.SetAnchors(o.Anchors)
}

// SetAnchors puts other trust anchors in place, as RFC 5011 brings them (see [AnchorSet.Anchors]). Where one of the old
// ones is not among them, it forgets what was derived from those. None at all is an error: it would make everything
// unanswerable.
func (v *Validator) SetAnchors(anchors []Anchor) error {
	if len(anchors) == 0 {
		return errors.New("a validator without a trust anchor")
	}
	if slices.Contains(anchors, Anchor{}) {
		return errors.New("an empty trust anchor")
	}
	v.mu.Lock()
	fewer := slices.ContainsFunc(v.anchors, func(old Anchor) bool { return !slices.ContainsFunc(anchors, old.isIn) })
	v.anchors = slices.Clone(anchors)
	v.mu.Unlock()
	if fewer {
		v.Flush()
	}
	return nil
}

// Flush forgets every key and every place in the chain. Look-ups under way do not fill the memory again.
func (v *Validator) Flush() { v.nodes.reset(v.limits.Entries) }

// isNegative says whether a negative trust anchor holds the name.
func (v *Validator) isNegative(n name) bool {
	return slices.ContainsFunc(v.negative, n.under)
}

// work is one validation: its clock and what it may still spend.
type work struct {
	v       *Validator
	ctx     context.Context
	now     time.Time
	lookups int
	tries   int
	hashes  int
}

func (v *Validator) newWork(ctx context.Context) *work {
	return &work{v: v, ctx: ctx, now: v.now(), lookups: v.limits.Lookups, tries: v.limits.Signatures, hashes: v.limits.Hashes}
}

// spend takes cost from what is left, and says whether there was enough.
func (w *work) spend(left *int, cost int) bool {
	*left -= cost
	return *left >= 0
}

// lookup asks for records of the chain. The verdict is set only where there is no message.
func (w *work) lookup(n name, t dnswire.Type) (m *message, failed verdict) {
	if !w.spend(&w.lookups, 1) {
		return nil, indeterminate("the chain takes more than %d look-ups", w.v.limits.Lookups)
	}
	q := n.question(t)
	wire, err := w.v.ask(w.ctx, q)
	if err == nil {
		m, err = readMessage(wire, q)
	}
	switch {
	case err != nil:
		return nil, indeterminate("no %v of %s: %v", t, n.text(), err)
	case m.rcode != dnswire.NoError && m.rcode != dnswire.NXDomain:
		return nil, indeterminate("no %v of %s: the answer is %s", t, n.text(), dnswire.RCodeText(m.rcode))
	}
	return m, verdict{}
}
