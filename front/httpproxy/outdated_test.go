package httpproxy

import (
	"testing"
	"time"

	"watertight/gate"
)

func TestAConnectionOfHTTP2WhoseListenerIsGoneKeepsItsTunnelsAndTakesNothingNew(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	h := p.http2(t)
	tunnel := h.connect("example.com:"+port, "")
	tunnel.carries(t, "before")
	p.rules.Store(gate.Closed())
	for until := time.Now().Add(patience); h.dials < 2; { // the client hears of the end by itself
		if s := h.connect("example.com:"+port, ""); s.StatusCode != 503 {
			t.Fatal(s.Status)
		}
		if time.Now().After(until) {
			t.Fatal("the connection is used on")
		}
	}
	tunnel.carries(t, "at the end")
}
