package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// pipes is a ground on which every address is connected.
type pipes struct{ far []net.Conn }

func (p *pipes) DialAddr(context.Context, netip.AddrPort) (net.Conn, error) {
	near, far := net.Pipe()
	p.far = append(p.far, far)
	return near, nil
}

func TestAGroundThatIsTakenAwayCarriesNothingMore(t *testing.T) {
	one, two := netip.MustParseAddrPort("192.0.2.1:853"), netip.MustParseAddrPort("192.0.2.2:853")
	for _, silent := range []bool{false, true} {
		below := &pipes{}
		g := newCutGround(below)
		conn, err := g.on().DialAddr(t.Context(), one)
		if err != nil {
			t.Fatal(err)
		}
		g.take(silent)
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("what was connected is read from")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err = g.on().DialAddr(ctx, two)
		cancel()
		if want := map[bool]error{false: syscall.ECONNREFUSED, true: context.DeadlineExceeded}[silent]; !errors.Is(err, want) {
			t.Errorf("silent %t: a connection ends with %v, want %v", silent, err, want)
		}
		if len(below.far) != 1 {
			t.Errorf("the ground below was asked for %d connections", len(below.far))
		}
		if len(g.before) != 1 || g.before[0] != one || len(g.after) != 1 || g.after[0] != two {
			t.Errorf("it remembers %v before and %v after", g.before, g.after)
		}
	}
}
