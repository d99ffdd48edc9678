package accesslog

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"watertight/fault"
)

// Limits on what clients can make the log write: of each kind so many lines at once, and then one in each interval.
// What is left out is counted, and told with the next line of its kind, or in a line of its own once a minute.
const (
	burst    = 60
	interval = time.Second
	summary  = time.Minute
	maxKinds = 64 // of messages that are counted apart; all others share one pace
)

// pace is the limit on one kind of lines (the generic cell rate algorithm). The zero pace is at rest.
type pace struct {
	full    atomic.Int64 // nanoseconds since the log was made, from which on the whole burst may be used again
	leftOut atomic.Uint64
}

// allows takes a line at a time, or counts it as left out.
func (p *pace) allows(now time.Duration) bool {
	for {
		full := p.full.Load()
		from := max(full, int64(now))
		if from-int64(now) > int64((burst-1)*interval) {
			p.leftOut.Add(1)
			return false
		}
		if p.full.CompareAndSwap(full, from+int64(interval)) {
			return true
		}
	}
}

// paces are the limits of a log: one for the refusals of each code, and one for each message of [Log.Sparing].
type paces struct {
	began   time.Time
	refused map[fault.Code]*pace // every code, and the empty one for what is none of them; not changed any more

	mu       sync.Mutex
	messages map[string]*pace // up to maxKinds of them, and the empty one
}

func newPaces() *paces {
	p := &paces{began: time.Now(), refused: map[fault.Code]*pace{"": {}}, messages: map[string]*pace{"": {}}}
	for _, c := range fault.Codes() {
		p.refused[c] = &pace{}
	}
	return p
}

func (p *paces) now() time.Duration { return time.Since(p.began) }

func (p *paces) ofCode(c fault.Code) *pace {
	if one, ok := p.refused[c]; ok {
		return one
	}
	return p.refused[""]
}

func (p *paces) ofMessage(text string) *pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one, ok := p.messages[text]; ok {
		return one
	}
	if len(p.messages) > maxKinds {
		return p.messages[""]
	}
	one := &pace{}
	p.messages[text] = one
	return one
}

// leftOut gives what was left out and not told yet, by code or message, and takes it as told.
func (p *paces) leftOut() map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	untold := make(map[string]uint64)
	for c, one := range p.refused {
		if n := one.leftOut.Swap(0); n > 0 {
			untold[string(c)] = n
		}
	}
	for text, one := range p.messages {
		if n := one.leftOut.Swap(0); n > 0 {
			untold[text] = n
		}
	}
	return untold
}

// tellLeftOut writes a line for each kind of which something was left out.
func (l *Log) tellLeftOut() {
	if !l.wants(slog.LevelInfo) {
		return
	}
	untold := l.paces.leftOut()
	kinds := make([]string, 0, len(untold))
	for of := range untold {
		kinds = append(kinds, of)
	}
	slices.Sort(kinds)
	for _, of := range kinds {
		r := slog.NewRecord(time.Now(), slog.LevelInfo, "lines were left out", 0)
		r.AddAttrs(slog.String("of", of), slog.Uint64("left_out", untold[of]))
		_ = l.handler.Handle(context.Background(), r) // a log that cannot be written has nobody left to tell
	}
}

// Sparing is the logger below, for those whose lines a client can cause at will: of each message it writes as much as
// of the refusals of one code.
func (l *Log) Sparing() *slog.Logger { return slog.New(&sparing{l.handler, l.paces}) }

type sparing struct {
	slog.Handler
	paces *paces
}

// Handle writes a line, or counts it.
func (s *sparing) Handle(ctx context.Context, r slog.Record) error {
	p := s.paces.ofMessage(r.Message)
	if !p.allows(s.paces.now()) {
		return nil
	}
	if n := p.leftOut.Swap(0); n > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Uint64("left_out", n))
	}
	return s.Handler.Handle(ctx, r)
}

// WithAttrs keeps the limit.
func (s *sparing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &sparing{s.Handler.WithAttrs(attrs), s.paces}
}

// WithGroup keeps the limit.
func (s *sparing) WithGroup(name string) slog.Handler {
	return &sparing{s.Handler.WithGroup(name), s.paces}
}
