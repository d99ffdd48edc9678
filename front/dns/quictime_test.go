package dns

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/dnswire"
	"watertight/lab/dnstest"
)

// inMemory serves a door of QUIC on an in-memory network, and gives a connection to it. It is for a bubble of synctest.
func inMemory(t *testing.T, serve func(context.Context, net.PacketConn, Credentials) error, alpn string, how *quic.Config) *quic.Conn {
	t.Helper()
	id := newIdentity(t)
	var network dnstest.Net
	at := netip.MustParseAddrPort("127.0.0.1:853")
	socket := network.ListenPacket(at)
	run(t, func(ctx ctx) error { return serve(ctx, socket, id.server()) })
	from := network.ListenPacket(netip.MustParseAddrPort("127.0.0.1:5000"))
	transport := &quic.Transport{Conn: from}
	t.Cleanup(func() { transport.Close(); from.Close() })
	conn, err := transport.Dial(within(t), net.UDPAddrFromAddrPort(at), id.client(alpn), how)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	return conn
}

// keepsAlive is a client that sends packets where it has nothing to say.
var keepsAlive = &quic.Config{KeepAlivePeriod: time.Second, MaxIdleTimeout: time.Hour}

func TestAStreamThatNeverEndsCostsTheConnection(t *testing.T) {
	for name, cut := range map[string]func([]byte) []byte{
		"no end of the stream": func(b []byte) []byte { return b },
		"half a query":         func(b []byte) []byte { return b[:9] },
		"a length alone":       func(b []byte) []byte { return b[:2] },
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, Options{Stall: 4 * time.Second})
			conn := inMemory(t, d.serveDoQ, "doq", keepsAlive)
			begun := time.Now()
			begin(t, conn, cut(framed(quicQuery(t, "www.example."))))
			endsWith(t, conn, doqProtocolError)
			if took := time.Since(begun); took < 4*time.Second || took > 5*time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
			waitFor(t, func() bool { return d.Stats().Connections == 0 })
			if s := d.Stats(); s.CutOff != 1 {
				t.Errorf("%s: %+v", name, s)
			}
		})
	}
}

func TestStreamsThatAreGivenUpMakeNoRoomForMoreAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pipeline = 4
		var g gauge
		hold := make(chan struct{})
		z := &zone{then: func(context.Context, Query) (*dnswire.Answer, error, bool) {
			defer g.leave()
			g.enter()
			<-hold // however often it is told that nobody waits for it
			return nil, nil, false
		}}
		conn := inMemory(t, newDoor(t, Options{Handler: z, Pipeline: pipeline}).serveDoQ, "doq", keepsAlive)
		var given []*quic.Stream
		for range pipeline {
			stream := begin(t, conn, framed(quicQuery(t, "slow.example.")))
			_ = stream.Close()
			given = append(given, stream)
		}
		waitFor(t, func() bool { return g.now.Load() == pipeline })
		for _, stream := range given {
			stream.CancelRead(doqRequestCancelled)
		}
		enough, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		for {
			stream, err := conn.OpenStreamSync(enough)
			if err != nil {
				break // the door takes no more of them
			}
			_, _ = stream.Write(framed(quicQuery(t, "slow.example.")))
			_ = stream.Close()
			stream.CancelRead(doqRequestCancelled)
		}
		close(hold)
		if g.most.Load() != pipeline {
			t.Errorf("%d queries are under way at a time, of %d", g.most.Load(), pipeline)
		}
	})
}

func TestAClientThatTakesNoReplyIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Options{})
		conn := inMemory(t, d.serveDoQ, "doq", &quic.Config{InitialStreamReceiveWindow: 1, MaxStreamReceiveWindow: 1})
		stream := begin(t, conn, framed(quicQuery(t, "large.example.")))
		_ = stream.Close()
		waitFor(t, func() bool { return d.Stats().CutOff == 1 })
		if conn.Context().Err() != nil {
			t.Error("the connection ends with it")
		}
	})
}

func TestAConnectionOnWhichNothingIsAskedIsEnded_AlsoWhereItsClientKeepsItAlive(t *testing.T) {
	for name, over := range map[string]struct {
		serve func(*Door) func(context.Context, net.PacketConn, Credentials) error
		alpn  string
		code  quic.ApplicationErrorCode
	}{
		"DNS over QUIC": {func(d *Door) func(context.Context, net.PacketConn, Credentials) error { return d.serveDoQ }, "doq", doqNoError},
		"HTTP/3":        {func(d *Door) func(context.Context, net.PacketConn, Credentials) error { return d.serveHTTP3 }, http3.NextProtoH3, h3NoError},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, Options{Idle: 20 * time.Second})
			conn := inMemory(t, over.serve(d), over.alpn, keepsAlive)
			begun := time.Now()
			<-conn.Context().Done()
			endsWith(t, conn, over.code)
			if took := time.Since(begun); took < 19*time.Second || took > 21*time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
		})
	}
}

func TestAConnectionWithAQueryUnderWayIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hold: make(chan struct{})}
		conn := inMemory(t, newDoor(t, Options{Handler: z, Idle: 3 * time.Second, Timeout: time.Minute}).serveDoQ, "doq", keepsAlive)
		stream := begin(t, conn, framed(quicQuery(t, "slow.example.")))
		_ = stream.Close()
		time.Sleep(10 * time.Second)
		close(z.hold)
		if m, _ := whole(t, stream); len(m.Answer) != 1 {
			t.Errorf("%v", m)
		}
		answered := time.Now()
		<-conn.Context().Done()
		endsWith(t, conn, doqNoError)
		if took := time.Since(answered); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("after the reply it ended in %v", took)
		}
	})
}

func TestARequestThatNeverEndsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Options{Stall: 4 * time.Second, Idle: time.Minute})
		conn := inMemory(t, d.serveHTTP3, http3.NextProtoH3, keepsAlive)
		begun := time.Now()
		stream := begin(t, conn, []byte{1, 60}) // a head of 60 octets that does not come (RFC 9114, section 7.2.2)
		resetWith(t, stream, quic.StreamErrorCode(http3.ErrCodeRequestIncomplete))
		if took := time.Since(begun); took < 4*time.Second || took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if conn.Context().Err() != nil {
			t.Error("the connection ends with it")
		}
	})
}

func TestADoorThatEndsWaitsForARepliesWayAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Options{Drain: time.Minute})
		draining, drain := context.WithCancel(t.Context())
		ended := make(chan time.Time, 1)
		conn := inMemory(t, func(ctx context.Context, socket net.PacketConn, source Credentials) error {
			defer func() { ended <- time.Now() }()
			defer context.AfterFunc(ctx, drain)()
			return d.serveDoQ(draining, socket, source)
		}, "doq", keepsAlive)
		if m, _ := exchange(t, conn, quicQuery(t, "www.example.")); m.Rcode != miekg.RcodeSuccess {
			t.Errorf("%v", m)
		}
		begun := time.Now()
		drain()
		endsWith(t, conn, doqNoError)
		if took := (<-ended).Sub(begun); took > 2*lingering {
			t.Errorf("it took %v", took)
		}
	})
}

// retried is a client's socket that notices Retry packets (RFC 9000, section 17.2.5).
type retried struct {
	net.PacketConn
	seen atomic.Bool
}

func (r *retried) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := r.PacketConn.ReadFrom(b)
	if err == nil && n > 0 && b[0]&0xf0 == 0xf0 {
		r.seen.Store(true)
	}
	return n, from, err
}

func TestAClientOfAnotherHostIsServedAlsoWhereItHasToShowFirstThatItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := newIdentity(t)
		d := newDoor(t, Options{Connections: 8, PerClient: 8})
		var network dnstest.Net
		at := netip.MustParseAddrPort("192.168.1.1:853")
		socket := network.ListenPacket(at)
		run(t, func(ctx ctx) error { return d.serveDoQ(ctx, socket, id.server()) })
		for i := range 4 {
			from := &retried{PacketConn: network.ListenPacket(netip.AddrPortFrom(netip.MustParseAddr("192.168.1.2"), uint16(5000+i)))}
			transport := &quic.Transport{Conn: from}
			t.Cleanup(func() { transport.Close(); from.Close() })
			conn, err := transport.Dial(within(t), net.UDPAddrFromAddrPort(at), id.client("doq"), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.CloseWithError(0, "") })
			exchange(t, conn, quicQuery(t, "www.example."))
			if from.seen.Load() != (i >= 2) {
				t.Errorf("with %d connections: asked to show that it is there: %v", i, from.seen.Load())
			}
		}
	})
}
