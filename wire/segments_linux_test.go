package wire

import (
	"context"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheFarSideIsAskedForSegmentsOfTheWishedSize(t *testing.T) {
	for _, c := range []struct {
		what  string
		ctx   context.Context
		least int
		most  int
	}{
		{"no wish", t.Context(), 1500, 1 << 16},
		{"a wish", WithSegments(t.Context(), 492), 492, 492 + timestamps}, // the latter where a host uses no timestamps
		{"too small a wish", WithSegments(t.Context(), 100), 1500, 1 << 16},
		{"too large a wish", WithSegments(t.Context(), 1401), 1500, 1 << 16},
	} {
		l, err := ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		near, err := DialTCP(c.ctx, l.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort())
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		far, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		raw, err := far.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var size int
		var failed error
		if err := raw.Control(func(fd uintptr) { size, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) }); err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		if size < c.least || size > c.most {
			t.Errorf("%s: the far side sends segments of %d octets, want %d to %d", c.what, size, c.least, c.most)
		}
	}
}
