package daemon

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/control"
	"watertight/dnswire"
	"watertight/netwatch"
)

func TestFlush_LetsTheNextLookUpBeAskedAnew_InThatChannelAndAllOfThem(t *testing.T) {
	l := newLive(t, "")
	l.text = l.config(strings.Replace(l.channels(""), "}}}", "}}, exit: {proxy: \"http://127.0.0.1:9\", resolve: exit}}", 1) +
		"routes: [{to: never.example, channel: exit}, {to: \"*\", channel: direct}]\n")
	l.d.o.Config = l.load()
	l.start().awaitReady()
	at := l.at.Proxy[0]
	l.tunnel(at)
	l.tunnel(at)
	asked := func() int { return l.dns.Count(hostName, dnswire.A) }
	if n := asked(); n != 1 {
		t.Fatalf("asked %d times before any flush", n)
	}
	for i, channel := range []string{"", "direct"} {
		done, err := l.d.Flush(channel)
		if err != nil || len(done) != 2-i || done[0].Channel != "direct" || done[0].Entries == 0 || done[0].Bytes == 0 {
			t.Fatalf("%q: %+v, %v", channel, done, err)
		}
		l.tunnel(at)
		if n := asked(); n != 2+i {
			t.Errorf("after the flush of %q it was asked for %d times", channel, n)
		}
	}
	if done, err := l.d.Flush("exit"); err != nil || len(done) != 1 || done[0] != (control.Flushed{Channel: "exit"}) {
		t.Errorf("a channel without a cache: %+v, %v", done, err)
	}
	l.tunnel(at)
	if n := asked(); n != 3 {
		t.Errorf("the flush of another channel emptied this one: asked %d times", n)
	}
	_, err := l.d.Flush("offise")
	if unknown, ok := errors.AsType[*control.UnknownChannelError](err); !ok || !slices.Equal(unknown.Channels, []string{"direct", "exit"}) {
		t.Errorf("%v", err)
	}
	c := l.d.Status().Channels[0].Cache
	if c.Entries == 0 || c.Bytes == 0 || c.LimitBytes != 16<<20 {
		t.Errorf("status %+v", c)
	}
}

func TestAChangeOfTheNetwork_EmptiesEveryCache_AndMakesConnectionsAnew_ButCutsNoTunnel(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	at := l.at.Proxy[0]
	open := l.tunnel(at)
	l.tunnel(at)
	if n := l.dns.Count(hostName, dnswire.A); n != 1 {
		t.Fatalf("asked %d times before any change", n)
	}
	before := l.dns.Conns()
	l.network <- struct{}{}
	l.network <- struct{}{} // taken when the first is dealt with
	l.tunnel(at)
	if n := l.dns.Count(hostName, dnswire.A); n != 2 {
		t.Errorf("after the change it was asked for %d times", n)
	}
	if l.dns.Conns() == before {
		t.Error("the connection to the resolver outlived the network")
	}
	open.carries(t)
	if _, text := l.get("/metrics"); !strings.Contains(text, "watertight_network_changes_total 2\n") {
		t.Errorf("changes are not counted: %s", text)
	}
}

func TestANetworkThatCannotBeWatched_IsSaid(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	close(l.network)
	for until := time.Now().Add(limit); !strings.Contains(l.log.String(), "changes of the network are not noticed"); runtime.Gosched() {
		if time.Now().After(until) {
			t.Fatalf("the log says:\n%s", l.log)
		}
	}
	l.tunnel(l.at.Proxy[0])
}

func TestAfterASleepNothingOfBeforeIsUsed(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	l.tunnel(l.at.Proxy[0])
	before := l.dns.Conns()
	l.d.around(netwatch.Resolver) // no name is resolved by that file
	l.tunnel(l.at.Proxy[0])
	if n := l.dns.Count(hostName, dnswire.A); n != 1 || l.dns.Conns() != before {
		t.Fatalf("asked %d times before any sleep", n)
	}
	l.d.around(netwatch.Resume)
	l.tunnel(l.at.Proxy[0])
	if n := l.dns.Count(hostName, dnswire.A); n != 2 || l.dns.Conns() == before {
		t.Errorf("after the sleep it was asked for %d times, over %d connections", n, l.dns.Conns())
	}
}
