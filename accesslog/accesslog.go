// Package accesslog writes one canonical line for each decision of the program: a refusal at level info, so that an
// operator sees what clients run into, and everything that went well at level debug. A fault of the program itself
// (INTERNAL) is written at level error.
//
// It promises that a target's name or address, and who a client is, stand in a line only if the configuration says `log.names: true`, at
// any level; that the one who reports an event never waits for the log, not even when nobody reads it: lines that do
// not fit are dropped, and counted in the next line that does; and that no client can fill the log with refusals: of
// each code 60 are written at once and then one a second, and the rest are counted. It never reads anything and never
// reaches the network.
package accesslog

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

// backlog is how many lines may wait for the writer.
const backlog = 1024

// Log is an [event.Sink] that writes lines. Nothing is written before [Log.Run].
type Log struct {
	handler slog.Handler
	names   atomic.Bool
	lines   chan line
	dropped atomic.Uint64 // since the last line that was written
	paces   *paces
}

var _ event.Sink = (*Log)(nil)

// line is an event that waits for the writer. It holds values only, so that no event outlives its report; the pace is the log's own.
type line struct {
	at    time.Time
	level slog.Level
	of    kind

	door     event.Door
	client   netip.AddrPort
	identity string      // empty if it is hidden
	target   name.Target // not valid if it is hidden
	channel  string
	upstream string
	code     string
	text     string // the question's type
	port     uint16
	up, down int64
	took     time.Duration
	mark     bool // client-resolved, or cached

	pace    *pace  // of a refusal
	leftOut uint64 // refusals of this code before it that were not written
}

type kind uint8

const (
	request kind = iota
	refusal
	tunnel
	lookup
)

// messages are the lines' first words, by kind.
var messages = [...]string{request: "request", refusal: "refused", tunnel: "tunnel ended", lookup: "look-up"}

// New makes a log over a logger. With names, lines show the targets of requests.
func New(to *slog.Logger, names bool) (*Log, error) {
	if to == nil {
		return nil, errors.New("accesslog: no logger is given")
	}
	l := &Log{handler: to.Handler(), lines: make(chan line, backlog), paces: newPaces()}
	l.SetNames(names)
	return l, nil
}

// SetNames says whether lines from now on show the targets of requests.
func (l *Log) SetNames(names bool) { l.names.Store(names) }

// Request notes a decision.
func (l *Log) Request(r *event.Request) {
	n := line{level: slog.LevelDebug, of: request}
	if r.Code != "" {
		n.level, n.of = slog.LevelInfo, refusal
	}
	if r.Code == fault.Internal {
		n.level = slog.LevelError
	}
	if !l.wants(n.level) {
		return
	}
	if n.of == refusal {
		n.pace = l.paces.ofCode(r.Code)
		if !n.pace.allows(l.paces.now()) {
			return
		}
		n.leftOut = n.pace.leftOut.Swap(0)
	}
	n.door, n.client, n.channel, n.code = r.Door, r.Client, r.Channel, string(r.Code)
	n.port, n.took, n.mark = r.Target.Port(), r.Took, r.ClientResolved
	if l.names.Load() {
		n.target, n.identity = r.Target, r.Identity.String()
	}
	l.put(n)
}

// Tunnel notes the end of a relay.
func (l *Log) Tunnel(t *event.Tunnel) {
	if l.wants(slog.LevelDebug) {
		l.put(line{level: slog.LevelDebug, of: tunnel, door: t.Door, up: t.Up, down: t.Down, took: t.Took})
	}
}

// Lookup notes a question to a resolver. What was asked is not in the event.
func (l *Log) Lookup(e *event.Lookup) {
	if !l.wants(slog.LevelDebug) {
		return
	}
	result := e.RCode
	if e.Code != "" {
		result = string(e.Code)
	}
	l.put(line{
		level: slog.LevelDebug, of: lookup, channel: e.Channel, upstream: e.Upstream, text: e.Type, code: result,
		took: e.Took, mark: e.Cached,
	})
}

func (l *Log) wants(level slog.Level) bool { return l.handler.Enabled(context.Background(), level) }

func (l *Log) put(n line) {
	n.at = time.Now()
	select {
	case l.lines <- n:
	default:
		l.dropped.Add(1)
		if n.pace != nil {
			n.pace.leftOut.Add(n.leftOut) // for the next one to tell
		}
	}
}

// Run writes until ctx is done, then writes what still waits. It gives nil.
func (l *Log) Run(ctx context.Context) error {
	defer l.tellLeftOut()
	quiet := time.NewTicker(summary)
	defer quiet.Stop()
	for {
		select {
		case n := <-l.lines:
			l.write(n)
		case <-quiet.C:
			l.tellLeftOut()
		case <-ctx.Done():
			for {
				select {
				case n := <-l.lines:
					l.write(n)
				default:
					return nil
				}
			}
		}
	}
}

// write hands a line to the handler. A log that cannot be written has nobody left to tell.
func (l *Log) write(n line) {
	ctx := context.Background()
	r := slog.NewRecord(n.at, n.level, messages[n.of], 0)
	switch n.of {
	case request, refusal:
		r.AddAttrs(n.aboutRequest()...)
	case tunnel:
		r.AddAttrs(slog.String("door", string(n.door)), slog.Int64("up", n.up), slog.Int64("down", n.down))
	case lookup:
		r.AddAttrs(slog.String("channel", n.channel), slog.String("type", n.text), slog.String("result", n.code), slog.Bool("cached", n.mark))
		if n.upstream != "" {
			r.AddAttrs(slog.String("upstream", n.upstream))
		}
	}
	r.AddAttrs(slog.Duration("took", n.took))
	if n.leftOut > 0 {
		r.AddAttrs(slog.Uint64("left_out", n.leftOut))
	}
	if dropped := l.dropped.Swap(0); dropped > 0 {
		r.AddAttrs(slog.Uint64("lines_dropped", dropped))
	}
	_ = l.handler.Handle(ctx, r)
}

// aboutRequest leaves out what there is not: a fault before a channel was chosen has none, and a hidden target
// shows its port only.
func (n line) aboutRequest() []slog.Attr {
	attrs := []slog.Attr{slog.String("door", string(n.door))}
	if n.code != "" {
		attrs = append(attrs, slog.String("code", n.code))
	}
	if n.channel != "" {
		attrs = append(attrs, slog.String("channel", n.channel))
	}
	if n.client.IsValid() {
		attrs = append(attrs, slog.String("client", n.client.String()))
	}
	if n.identity != "" {
		attrs = append(attrs, slog.String("user", n.identity))
	}
	switch {
	case n.target.IsValid():
		attrs = append(attrs, slog.Any("target", name.Reveal(n.target)))
	case n.port != 0:
		attrs = append(attrs, slog.Uint64("port", uint64(n.port)))
	}
	if n.mark {
		attrs = append(attrs, slog.Bool("client_resolved", true))
	}
	return attrs
}
