package gateway

import (
	"crypto/tls"
	"net/http"
	"testing"

	"watertight/client"
)

func TestARequestOverAConnectionThatStandsIsReportedForTheIdentityOfItsEntry(t *testing.T) {
	alice := client.Identity{User: "alice", Session: "1"}
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {}, func(_ *world, _ *tls.Config, e *Entry) { e.Identity = alice })
	c := w.client(false)
	for range 3 {
		w.do(c, w.request("GET", "/openai/", nil))
	}
	if n := w.dialled(); n != 1 || len(w.sink.requests) != 3 {
		t.Fatalf("%d dials, %d reports", n, len(w.sink.requests))
	}
	for _, e := range w.sink.requests {
		if e.Identity != alice {
			t.Errorf("reported for %q", e.Identity.String())
		}
	}
}
