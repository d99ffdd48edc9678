package httpproxy

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/fault"
	"watertight/route"
)

func TestConnectionsToOriginsAreUsedAgainByTheSameClientOnly(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {})
	p := serve(t, nil)
	get := func(c *raw) {
		c.send("GET http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port)
		c.response("GET")
	}
	one, two := p.raw(t), p.raw(t)
	get(one)
	get(one)
	if n := len(p.dialer.requests()); n != 1 {
		t.Errorf("%d connections for one client", n)
	}
	get(two)
	if n := len(p.dialer.requests()); n != 2 {
		t.Errorf("%d connections for two clients", n)
	}
	p.RoutesChanged()
	get(one)
	if n := len(p.dialer.requests()); n != 3 {
		t.Errorf("%d connections after the routes changed", n)
	}
	if got := p.sink.codes(); !slices.Equal(got, []string{""}) {
		t.Errorf("requests without a dial were reported as %q", got)
	}
}

func TestTheOriginLearnsThatTheClientIsGone(t *testing.T) {
	for _, body := range []string{"", "abc"} {
		arrived, gone := make(chan struct{}), make(chan struct{})
		port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			close(arrived)
			<-r.Context().Done()
			close(gone)
		})
		c := serve(t, nil).raw(t)
		c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, fmt.Sprintf("Content-Length: %d", len(body)))
		io.WriteString(c.TCPConn, body)
		<-arrived
		c.Close()
		select {
		case <-gone:
		case <-time.After(patience):
			t.Errorf("body %q: the origin works on for nobody", body)
		}
	}
}

func TestSlowHeadsAndSilentClientsAreEnded(t *testing.T) {
	p := serve(t, func(o *Options) { o.HeadTimeout, o.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond })
	c := p.raw(t)
	io.WriteString(c.TCPConn, "GET http://a.example/ HTTP/1.1\r\nHost: a")
	if resp, _, message := c.refusal("GET"); resp.StatusCode != 400 || !strings.Contains(message, "did not come within") || !resp.Close {
		t.Error(resp.Status)
	}
	c.CloseWrite()
	c.ended()

	c = p.raw(t)
	c.send("GET / HTTP/1.1", "Host: a")
	c.refusal("GET")
	c.ended()
}

func TestDrainEndsConnectionsThatWaitAndThoseThatWould(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
	})
	p := serve(t, nil)
	waiting, busy := p.raw(t), p.raw(t)
	waiting.send("GET / HTTP/1.1", "Host: a")
	waiting.refusal("GET")
	busy.send("GET http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port)
	<-entered
	p.Drain()
	waiting.ended()
	close(leave)
	if resp, _ := busy.response("GET"); resp.StatusCode != 200 || !resp.Close {
		t.Error(resp.Status, resp.Close)
	}
	busy.CloseWrite()
	busy.ended()
}

func TestADoorWithoutItsCollaboratorsIsAnError(t *testing.T) {
	whole := Options{Dialer: &dialer{}, Packets: &dialer{}, Relay: copyBoth, Sink: &sink{}, Logger: slog.New(slog.DiscardHandler)}
	if _, err := New(whole); err != nil {
		t.Fatal(err)
	}
	for i, cut := range []func(*Options){
		func(o *Options) { o.Dialer = nil }, func(o *Options) { o.Packets = nil }, func(o *Options) { o.Relay = nil },
		func(o *Options) { o.Sink = nil }, func(o *Options) { o.Logger = nil }, func(o *Options) { o.IdleTimeout = -1 },
	} {
		o := whole
		cut(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%d: %+v is accepted", i, o)
		}
	}
}

func TestARefusedClientMaySendOnAndReadTheRefusalAfterwards(t *testing.T) {
	p := serve(t, nil)
	p.dialer.failWith(func(route.Request) error { return fault.New(fault.PolicyPlainHTTP, "no", nil) })
	c := p.raw(t)
	c.send("POST http://a.example/ HTTP/1.1", "Host: a.example", "Content-Length: 800000")
	if _, err := c.Peek(1); err != nil { // the refusal is here, and the client does not look yet
		t.Fatal(err)
	}
	for range 100 {
		if _, err := c.TCPConn.Write(make([]byte, 8000)); err != nil {
			t.Fatal("the client was stopped in sending:", err)
		}
	}
	if resp, code, _ := c.refusal("POST"); resp.StatusCode != 403 || code != "POLICY_PLAIN_HTTP" || !resp.Close {
		t.Error(resp.Status)
	}
}
