package cli

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"

	"watertight/config"
)

// logOutput is the handler of the program's log. A reload may change its level and its format.
type logOutput struct {
	text, json slog.Handler
	now        *logChoice
}

type logChoice struct {
	level  slog.LevelVar
	asJSON atomic.Bool
}

var _ slog.Handler = (*logOutput)(nil)

// newLog makes the handler; w takes whole lines.
func newLog(w io.Writer, c config.Log) *logOutput {
	now := &logChoice{}
	opts := &slog.HandlerOptions{Level: &now.level}
	o := &logOutput{text: slog.NewTextHandler(w, opts), json: slog.NewJSONHandler(w, opts), now: now}
	o.set(c)
	return o
}

// set takes what a configuration says, from the next line on.
func (o *logOutput) set(c config.Log) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the configuration has been checked; this is its default
	}
	o.now.level.Set(level)
	o.now.asJSON.Store(c.Format == "json")
}

func (o *logOutput) handler() slog.Handler {
	if o.now.asJSON.Load() {
		return o.json
	}
	return o.text
}

// Enabled says whether lines of a level are written.
func (o *logOutput) Enabled(_ context.Context, level slog.Level) bool {
	return level >= o.now.level.Level()
}

// Handle writes a line.
func (o *logOutput) Handle(ctx context.Context, r slog.Record) error {
	return o.handler().Handle(ctx, r)
}

// WithAttrs gives a handler whose lines hold attrs too.
func (o *logOutput) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logOutput{text: o.text.WithAttrs(attrs), json: o.json.WithAttrs(attrs), now: o.now}
}

// WithGroup gives a handler whose attributes stand in a group.
func (o *logOutput) WithGroup(name string) slog.Handler {
	return &logOutput{text: o.text.WithGroup(name), json: o.json.WithGroup(name), now: o.now}
}
