package daemon

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"watertight/control"
	"watertight/dnswire"
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
		if err != nil || len(done) != 1 || done[0].Channel != "direct" || done[0].Entries == 0 || done[0].Bytes == 0 {
			t.Fatalf("%q: %+v, %v", channel, done, err)
		}
		l.tunnel(at)
		if n := asked(); n != 2+i {
			t.Errorf("after the flush of %q it was asked for %d times", channel, n)
		}
	}
	if done, err := l.d.Flush("exit"); err != nil || len(done) != 0 {
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
