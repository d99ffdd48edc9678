package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/wire"
)

func TestADaemonWhoseResolverHasNotAnswered_saysNotReady_andIsReadyOnceItHas(t *testing.T) {
	t.Parallel() // a request waits five seconds for the resolver, of the clock on the wall
	l := newLive(t, "")
	release := make(chan struct{})
	l.dns.Handle(dnstest.Held(dnstest.Zone{hostName + ". 60 A 127.0.0.1"}.Handler(), release))
	l.start()
	if code, body := l.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "direct") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, _ := l.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	l.refuses(l.at.Proxy[0], l.target(), http.StatusServiceUnavailable, "NOT_READY")
	select {
	case <-l.ready:
		t.Error("it said that it is ready")
	default:
	}
	close(release)
	l.awaitReady()
	if code, body := l.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d %s", code, body)
	}
	l.tunnel(l.at.Proxy[0])
}

func TestADaemonThatBecomesReadyByAReload_saysSo(t *testing.T) {
	dead := freePort(t)
	l := newLive(t, fmt.Sprintf("channels: {direct: {resolver: {upstreams: [{url: \"tls://%s\", ca: %q}]}}}\n", dead, caFile))
	l.start()
	l.mustReload("")
	l.awaitReady()
	l.tunnel(l.at.Proxy[0])
}

func TestATunnel_isNotDroppedByReloads(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	c := l.tunnel(l.at.Proxy[0])
	for i := range 5 {
		l.mustReload(l.channels(fmt.Sprintf(", timeout: %ds", 2+i)))
		c.carries(t)
		l.tunnel(l.at.Proxy[0])
	}
	if n := l.dns.Count(hostName, dnswire.A); n != 6 {
		t.Errorf("the name was asked for %d times, want once by each of 6 channels", n)
	}
	l.mustReload(l.channels(", timeout: 6s"))
	l.tunnel(l.at.Proxy[0])
	if n := l.dns.Count(hostName, dnswire.A); n != 6 {
		t.Errorf("a reload that changes nothing lost the cache")
	}
	c.carries(t)
}

func TestAReload_opensAndClosesListeners_andKeepsTheOthers(t *testing.T) {
	first, second := freePort(t), freePort(t)
	one := fmt.Sprintf("listen: {proxy: %q}\n", first)
	both := fmt.Sprintf("listen: {proxy: [%q, %q]}\n", first, second)
	l := newLive(t, one).start().awaitReady()
	onFirst := l.tunnel(first)
	l.mustReload(both)
	onSecond := l.tunnel(second)
	onFirst.carries(t)
	l.mustReload(one)
	if listens(second) {
		t.Error("a listener that was taken out of the configuration still accepts")
	}
	onSecond.carries(t) // it may end by itself
	l.tunnel(first)
	onFirst.carries(t)
	onSecond.Close()
	l.mustReload(fmt.Sprintf("listen: {proxy: %q}\n", second))
	l.tunnel(second)
	if listens(first) {
		t.Error("the first listener still accepts")
	}
}

func TestAReloadThatMovesTheOnlyListener_leavesItsClientsConnectionsThatStay(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	for range 10 {
		at := freePort(t)
		l.mustReload(fmt.Sprintf("listen: {proxy: %q}\n", at))
		c := dialProxy(t, at)
		for range 2 { // the second request on the same connection is served too
			resp := c.connect(t, "dns.google:443")
			if resp.StatusCode != http.StatusForbidden || resp.Close {
				t.Fatalf("%s, and the connection closes: %v", resp.Status, resp.Close)
			}
			if _, err := io.CopyN(io.Discard, c.r, resp.ContentLength); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTwoListenersOnAnyPort_bothOutliveAReload(t *testing.T) {
	text := "listen: {proxy: [\"127.0.0.1:0\", \"127.0.0.1:0\"]}\n"
	l := newLive(t, text).start().awaitReady()
	l.mustReload(text)
	for _, at := range l.at.Proxy {
		l.tunnel(at)
	}
}

func TestAReloadThatFails_changesNothing(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	at := l.at.Proxy[0]
	c := l.tunnel(at)
	taken := l.open("127.0.0.1:0").Addr()
	before := l.d.current()
	for what, c := range map[string]struct{ more, says string }{
		"a port that is taken":               {fmt.Sprintf("listen: {proxy: [%q, %q]}\n%s", at, taken, l.channels(", timeout: 2s")), "cannot listen on " + taken.String()},
		"every address of a port of its own": {fmt.Sprintf("listen: {proxy: {address: \"0.0.0.0:%d\", allow_insecure: true}}\n", at.Port()), "listens on " + at.String() + " itself"},
		"an unknown key":                     {"chanels: {}\n", "channels"},
		"an unknown channel":                 {"routes: [{to: \"*\", channel: dircet}]\n", "direct"},
		"no YAML":                            {"listen: [\n", "live.yaml"},
	} {
		err := l.reload(c.more)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "the one before stays in force") {
			t.Errorf("%s: %v", what, err)
		}
		if l.d.current() != before {
			t.Errorf("%s: the configuration in force is another", what)
		}
	}
	c.carries(t)
	l.tunnel(at)
	if n := l.dns.Count(hostName, dnswire.A); n != 1 {
		t.Errorf("the name was asked for %d times: the cache was lost", n)
	}
	if _, body := l.get("/status"); !strings.Contains(body, "last_error") {
		t.Errorf("/status does not tell of the reload that failed: %s", body)
	}
	if code, _ := l.get("/readyz"); code != http.StatusOK {
		t.Error("it is no longer ready")
	}
}

func TestAStop_letsTunnelsEndByThemselves_andCutsThemAtTheLimit(t *testing.T) {
	t.Run("by itself", func(t *testing.T) {
		l := newLive(t, "limits: {drain: 1h}\n").start().awaitReady()
		c := l.tunnel(l.at.Proxy[0])
		idle := dialProxy(t, l.at.Proxy[0]) // has said nothing
		l.cancel()
		if _, err := idle.r.ReadByte(); err == nil {
			t.Error("a silent connection got an answer")
		}
		c.carries(t)
		select {
		case <-l.ended:
			t.Error("it ended under an open tunnel")
		default:
		}
		c.Close()
		if err := l.stop(); err != nil {
			t.Error(err)
		}
		leavesNothing(t)
	})
	t.Run("at the limit", func(t *testing.T) {
		l := newLive(t, fmt.Sprintf("limits: {drain: 0s}\nlisten: {proxy: %q}\n", freePort(t))).start().awaitReady()
		c := l.tunnel(l.at.Proxy[0])
		if err := l.stop(); err != nil {
			t.Error(err)
		}
		if _, err := c.r.ReadByte(); err == nil {
			t.Error("the tunnel is still open")
		}
		if listens(l.at.Proxy[0]) {
			t.Error("somebody still listens")
		}
		leavesNothing(t)
	})
	t.Run("while a resolver is silent", func(t *testing.T) {
		l := newLive(t, "limits: {drain: 0s}\n").start().awaitReady()
		l.dns.Handle(dnstest.Silent)
		c := dialProxy(t, l.at.Proxy[0])
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", l.target())
		for l.dns.Count(hostName, dnswire.A) == 0 {
			l.dns.Live()
		}
		if err := l.stop(); err != nil {
			t.Error(err)
		}
		leavesNothing(t)
	})
	t.Run("with reloads before", func(t *testing.T) {
		l := newLive(t, "").start().awaitReady()
		for i := range 3 {
			l.mustReload(l.channels(fmt.Sprintf(", timeout: %ds", 2+i)))
			l.tunnel(l.at.Proxy[0]).Close()
		}
		if err := l.stop(); err != nil {
			t.Error(err)
		}
		leavesNothing(t)
		if err := l.reload(""); err == nil {
			t.Error("it was reloaded after its end")
		}
	})
}

func TestASecondRunOnTheSamePort_failsAndSaysWhy(t *testing.T) {
	at := freePort(t)
	text := fmt.Sprintf("listen: {proxy: [\"127.0.0.1:0\", %q]}\n", at)
	newLive(t, text).start()
	second := newLive(t, text)
	err := second.d.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "listen.proxy: cannot listen on "+at.String()) || !strings.Contains(err.Error(), "in use") ||
		!strings.Contains(err.Error(), "stop that one, or take another port") {
		t.Errorf("it gave %v", err)
	}
}

func TestAnAddressThatThisHostDoesNotHave_isAnErrorThatSaysSo(t *testing.T) {
	text := "listen: {proxy: {address: \"192.0.2.77:8080\", allow_insecure: true}}\n"
	err := newLive(t, text).d.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "listen.proxy: cannot listen on 192.0.2.77:8080") || !strings.Contains(err.Error(), "this host has no such address") {
		t.Errorf("it gave %v", err)
	}
}

func TestADaemon_needsAllItIsMadeOf(t *testing.T) {
	good := newLive(t, "").d.o
	for what, spoil := range map[string]func(*Options){
		"configuration": func(o *Options) { o.Config = nil },
		"load":          func(o *Options) { o.Load = nil },
		"ground":        func(o *Options) { o.Ground = nil },
		"log":           func(o *Options) { o.Log = nil },
		"listening":     func(o *Options) { o.Listening = nil },
		"ready":         func(o *Options) { o.Ready = nil },
		"in force":      func(o *Options) { o.InForce = nil },
	} {
		o := good
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("it was made without %s", what)
		}
	}
	d, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(t.Context()); err == nil {
		t.Error("it was reloaded before it ran")
	}
}

func TestTheDoors_speakForTheTable(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	at := l.at.Proxy[0]
	closed := freePort(t)
	l.refuses(at, hostName+":"+fmt.Sprint(closed.Port()), http.StatusBadGateway, "CONNECT_REFUSED") // leaks.md, D7
	l.refuses(at, "none."+canary+".example.com:443", http.StatusBadGateway, "DNS_NXDOMAIN")
	l.refuses(at, "dns.google:443", http.StatusForbidden, "POLICY_FOREIGN_RESOLVER")
	l.refuses(at, "9.9.9.9:53", http.StatusForbidden, "POLICY_FOREIGN_RESOLVER")
	l.refuses(at, l.at.Admin[0].String(), http.StatusForbidden, "POLICY_PRIVATE_TARGET")
	l.refuses(at, at.String(), http.StatusBadRequest, "the target is this proxy itself")
	if strings.Contains(l.log.String(), canary) {
		t.Error("a name stands in the log")
	}

	c := dialProxy(t, at)
	port := l.origin.Addr().(*net.TCPAddr).Port
	request := append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(hostName))}, hostName...)
	_, _ = c.Write(append(request, byte(port>>8), byte(port)))
	reply := make([]byte, 12)
	if _, err := io.ReadFull(c.r, reply); err != nil || reply[1] != 0 || reply[3] != 0 {
		t.Fatalf("SOCKS5: %v %v", reply, err)
	}
	c.carries(t)
}

func TestResolve_asksTheChannelThatTheRoutesChoose_andLeavesNothing(t *testing.T) {
	l := newLive(t, "")
	r, err := resolveOn(t.Context(), shared{ground: wire.Dialer{}}, l.load(), "", name.MustHost(hostName), []dnswire.Type{dnswire.A, dnswire.AAAA})
	if err != nil || r.Failed() || r.Channel != "direct" || r.Answers[0].Records[0].Data != "127.0.0.1" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := resolveOn(t.Context(), shared{ground: wire.Dialer{}}, l.load(), "none", name.MustHost(hostName), nil); err != nil || r.Error == nil {
		t.Errorf("of a channel that does not exist: %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := resolveOn(ctx, shared{ground: wire.Dialer{}}, l.load(), "", name.MustHost(hostName), []dnswire.Type{dnswire.A}); err != nil || !r.Failed() {
		t.Errorf("after the caller gave up: %+v, %v", r, err)
	}
	leavesNothing(t)
}
