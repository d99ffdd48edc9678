package httpproxy

import (
	"context"
	"io"
	"testing"
	"time"

	"watertight/route"
)

// slowly makes each dial wait until its host is let through, and gives those that began and those whose context ended
// before.
func slowly(p *proxy, host string, through <-chan struct{}) (begun, ended <-chan string) {
	first, all := make(chan string, 10), make(chan string, 10)
	p.dialer.hold = func(ctx context.Context, r route.Request) error {
		first <- r.Target.Host().String()
		var let <-chan struct{}
		if r.Target.Host().String() == host {
			let = through
		}
		select {
		case <-let:
			return nil
		case <-ctx.Done():
			all <- r.Target.Host().String()
			return context.Cause(ctx)
		}
	}
	return first, all
}

func TestAClientThatHangsUpEndsTheDialForIt(t *testing.T) {
	for _, line := range []string{"CONNECT gone.example:443", "GET http://gone.example/"} {
		p := serve(t, nil)
		begun, ended := slowly(p, "", nil)
		c := p.raw(t)
		c.send(line+" HTTP/1.1", "Host: gone.example")
		select { // a client that is gone before is not dialled for at all
		case <-begun:
		case <-time.After(patience):
			t.Fatalf("%s: no dial", line)
		}
		c.Close()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("%s: the dial goes on", line)
		}
	}
}

func TestAClientThatWaitsForASlowDialGetsItsTunnelWhole(t *testing.T) {
	p, port, through := serve(t, nil), serveEcho(t), make(chan struct{})
	_, ended := slowly(p, "slow.example", through)
	silent, early, gone := p.raw(t), p.raw(t), p.raw(t)
	for _, c := range []*raw{silent, early} {
		c.send("CONNECT slow.example:"+port+" HTTP/1.1", "Host: x")
	}
	io.WriteString(early.TCPConn, "early ")
	gone.send("CONNECT gone.example:"+port+" HTTP/1.1", "Host: x")
	gone.Close()
	select { // when this one was noticed, the others have been watched too
	case <-ended:
	case <-time.After(patience):
		t.Fatal("nobody looks after the clients")
	}
	close(through)
	for c, want := range map[*raw]string{silent: "late", early: "early late"} {
		if resp, _ := c.response("CONNECT"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		io.WriteString(c.TCPConn, "late")
		c.CloseWrite()
		if got, err := io.ReadAll(c); string(got) != want || err != nil {
			t.Errorf("%q %v, not %q", got, err, want)
		}
	}
}
