package gateway

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"watertight/event"
	"watertight/gate"
)

func TestAFaultInARequestIsTold(t *testing.T) {
	var log bytes.Buffer
	g, err := New(Options{
		Current: func() (*Table, func()) { return nil, func() {} }, Sink: event.Discard{}, Logger: slog.New(slog.NewTextHandler(&log, nil)), Keeper: gate.NewKeeper(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { // of a request that came by no connection
		if v := recover(); v != http.ErrAbortHandler || !strings.Contains(log.String(), "panic=") || !strings.Contains(log.String(), "gateway") || strings.Contains(log.String(), "secret") {
			t.Errorf("%v, and the log has %q", v, log.String())
		}
	}()
	g.server.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/secret", nil))
	t.Error("it does not panic")
}

func TestAGatewayWithoutItsCollaboratorsIsAnError(t *testing.T) {
	whole := Options{Current: func() (*Table, func()) { return nil, func() {} }, Sink: event.Discard{}, Logger: slog.New(slog.DiscardHandler), Keeper: gate.NewKeeper()}
	if _, err := New(whole); err != nil {
		t.Fatal(err)
	}
	for i, cut := range []func(*Options){
		func(o *Options) { o.Current = nil }, func(o *Options) { o.Sink = nil }, func(o *Options) { o.Logger = nil }, func(o *Options) { o.Keeper = nil },
		func(o *Options) { o.Connections = -1 }, func(o *Options) { o.DrainLimit = -1 },
	} {
		o := whole
		cut(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%d: %+v is accepted", i, o)
		}
	}
}
