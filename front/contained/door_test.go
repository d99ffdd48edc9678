package contained_test

import (
	"log/slog"
	"testing"

	"watertight/event"
	"watertight/front/contained"
)

func realAddresses(o *contained.Options) { o.RealAddresses = true }

func TestADoorNeedsAllOfItsParts(t *testing.T) {
	whole := contained.Options{
		Board: &board{}, Relay: relay, Sink: event.Discard{}, Logger: slog.New(slog.DiscardHandler), Connections: 1, Flows: 1,
	}
	if _, err := contained.New(whole); err != nil {
		t.Fatal(err)
	}
	for title, take := range map[string]func(*contained.Options){
		"board": func(o *contained.Options) { o.Board = nil }, "relay": func(o *contained.Options) { o.Relay = nil },
		"sink": func(o *contained.Options) { o.Sink = nil }, "logger": func(o *contained.Options) { o.Logger = nil },
		"connections": func(o *contained.Options) { o.Connections = 0 }, "flows": func(o *contained.Options) { o.Flows = 0 },
		"drain": func(o *contained.Options) { o.Drain = -1 },
	} {
		o := whole
		take(&o)
		if _, err := contained.New(o); err == nil {
			t.Errorf("%s: no error", title)
		}
	}
	door, err := contained.New(whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := door.Serve(t.Context(), contained.Sockets{}); err == nil {
		t.Error("it serves a program without sockets")
	}
}
