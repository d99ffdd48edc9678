package daemon

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"watertight/dnswire"
)

func TestStrategy_DecidesHowManyResolversSeeAName_AndIsShown(t *testing.T) {
	for strategy, want := range map[string]struct {
		sees int
		word string
	}{"order": {1, "order"}, "random": {1, "random"}, "{race: 2}": {2, "race"}} {
		t.Run(want.word, func(t *testing.T) {
			l := newLive(t, "")
			one := fmt.Sprintf("{url: %q, ca: %q}", "tls://"+l.dns.Addr().String(), caFile)
			l.text = l.config("channels: {direct: {resolver: {upstreams: [" + one + ", " + one + "], strategy: " + strategy + "}}}\n")
			l.d.o.Config = l.load()
			l.start().awaitReady()
			l.tunnel(l.at.Proxy[0])
			for until := time.Now().Add(limit); l.dns.Count(hostName, dnswire.A) < want.sees && time.Now().Before(until); {
				runtime.Gosched() // who loses the race is asked all the same
			}
			if n := l.dns.Count(hostName, dnswire.A); n != want.sees {
				t.Errorf("%d resolvers saw the name", n)
			}
			r := l.d.Status().Channels[0].Resolver
			if r.SeesName != want.sees || r.Strategy != want.word || len(r.Upstreams) != 2 {
				t.Errorf("status %+v", r)
			}
		})
	}
}

func TestStrategy_StandsInTheMetrics(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	_, text := l.get("/metrics")
	for _, line := range []string{`watertight_resolvers_per_name{channel="direct"} 1`, `watertight_resolvers{channel="direct"} 1`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}
