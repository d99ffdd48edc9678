package transport_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"watertight/lab/dnsrig"
	"watertight/transport"
	"watertight/upstream"
)

// TestOverDoTSegmentsHaveTheSizeOfAReplyAndOverDoHTheUsualOne looks at what both sides of a connection agreed on.
func TestOverDoTSegmentsHaveTheSizeOfAReplyAndOverDoHTheUsualOne(t *testing.T) {
	for kind, want := range map[upstream.Kind]struct{ least, most int }{
		dot: {492, 504}, // the latter where a host uses no timestamps
		doh: {1000, 1 << 16},
	} {
		_, u := dnsrig.OnLoopback(t, kind, dnsrig.Zone.Handler())
		var size atomic.Int64
		c := newRig(t).client(t, u, func(o *transport.Options) {
			sockets := dnsrig.Sockets()
			o.Way.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				conn, err := sockets.Dial(ctx, to)
				if err == nil {
					size.Store(int64(segment(t, conn.(*net.TCPConn))))
				}
				return conn, err
			}
		})
		wantAddr(t, c, "www.shop.example", "192.0.2.1")
		if got := int(size.Load()); got < want.least || got > want.most {
			t.Errorf("%s: segments of %d octets, want %d to %d", kind, got, want.least, want.most)
		}
	}
}

func segment(t *testing.T, conn *net.TCPConn) (octets int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Error(err)
		return 0
	}
	var failed error
	err = raw.Control(func(fd uintptr) { octets, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) })
	if err != nil || failed != nil {
		t.Error(err, failed)
	}
	return octets
}
