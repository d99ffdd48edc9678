package daemon

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"watertight/fault"
	"watertight/lab/dnstest"
)

// What the keys of `limits` and `log`, and a resolver's `timeout`, change in a running program.

func TestLimitsConnections_TurnsOneMoreAway_AndHoldsFromTheReloadOn(t *testing.T) {
	l := newLive(t, "limits: {connections: 1}\n").start().awaitReady()
	at := l.at.Proxy[0]
	first := l.tunnel(at)
	l.refuses(at, l.target(), http.StatusServiceUnavailable, "LIMIT")
	l.mustReload("limits: {connections: 2}\n")
	l.tunnel(at)
	l.refuses(at, l.target(), http.StatusServiceUnavailable, "LIMIT")
	first.carries(t)
}

func TestLimitsDrain_HoldsFromTheReloadOn(t *testing.T) {
	l := newLive(t, "limits: {drain: 1h}\n").start().awaitReady()
	c := l.tunnel(l.at.Proxy[0])
	l.mustReload("limits: {drain: 0s}\n")
	c.carries(t)
	l.cancel()
	select {
	case <-l.ended:
	case <-time.After(limit):
		t.Error("the stop waits for the tunnel")
		c.Close()
	}
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("the tunnel is still open")
	}
}

func TestAReload_ThatTakesAListenerAway_LeavesTheTunnelsThatCameByIt(t *testing.T) {
	before := freePort(t)
	l := newLive(t, fmt.Sprintf("limits: {drain: 0s}\nlisten: {proxy: %q}\n", before)).start().awaitReady()
	c := l.tunnel(before)
	after := freePort(t)
	l.mustReload(fmt.Sprintf("limits: {drain: 0s}\nlisten: {proxy: %q}\n", after))
	if listens(before) {
		t.Error("the listener is still open")
	}
	l.tunnel(after)
	c.carries(t)
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("the tunnel outlives the program's stop")
	}
	leavesNothing(t)
}

func TestLogNames_ShowsNamesFromTheReloadOn_AndOnlyThen(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	refused := func(label string) {
		t.Helper()
		l.refuses(l.at.Proxy[0], label+"."+canary+".example.com:443", http.StatusBadGateway, "DNS_NXDOMAIN")
	}
	refused("before")
	l.mustReload("log: {names: true}\n")
	refused("meanwhile")
	l.mustReload("log: {names: false}\n")
	refused("after")
	if err := l.stop(); err != nil { // the log has been written
		t.Fatal(err)
	}
	for label, want := range map[string]bool{"before": false, "meanwhile": true, "after": false} {
		if strings.Contains(l.log.String(), label+"."+canary) != want {
			t.Errorf("the name asked for %s the key was true is in the log: want %v\n%s", label, want, l.log)
		}
	}
}

func TestResolverTimeout_IsHowLongALookupMayTake(t *testing.T) {
	for text, want := range map[string]time.Duration{"1s": time.Second, "4s": 4 * time.Second} {
		t.Run(text, func(t *testing.T) {
			inWorld(t, bySOCKS, dot, func(w *world) {
				w.ready(w.text("timeout: " + text))
				w.own.Fail(always(dnstest.Silent))
				begun := time.Now()
				w.fails(target, fault.DNSTimeout, "in time")
				if took := time.Since(begun); took != want { // of the bubble's clock
					w.t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestClientsThatSendRubbish_AreCounted_AndDoNotFillTheLog(t *testing.T) {
	const many = 300
	l := newLive(t, "").start().awaitReady()
	for range many {
		for _, rubbish := range []string{"\x00", "GET rubbish\r\n\r\n"} {
			c := dialProxy(t, l.at.Proxy[0])
			fmt.Fprint(c, rubbish)
			_, _ = io.Copy(io.Discard, c) // until it is turned away; an answer is of no concern
			c.Close()
		}
	}
	_, body := l.get("/metrics")
	for _, want := range []string{
		fmt.Sprintf(`watertight_clients_turned_away_total{reason="protocol"} %d`, many),
		fmt.Sprintf(`watertight_requests_total{code="BAD_REQUEST",door="http"} %d`, many),
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if err := l.stop(); err != nil { // the log has been written
		t.Fatal(err)
	}
	for _, line := range []string{`msg="a client was turned away"`, "code=BAD_REQUEST"} {
		if n := strings.Count(l.log.String(), line); n == 0 || n > many/2 {
			t.Errorf("%d lines with %s", n, line)
		}
	}
	if !strings.Contains(l.log.String(), "left_out=") {
		t.Error("it is not told how many were left out")
	}
}
