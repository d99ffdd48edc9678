package dns

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"watertight/dnswire"
)

// quicClient is a socket from which a test speaks QUIC.
func quicClient(t testing.TB, from string) *quic.Transport {
	t.Helper()
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)))
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	t.Cleanup(func() { transport.Close(); socket.Close() })
	return transport
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// connect gives a connection to a door, or why there is none.
func connect(t testing.TB, socket *net.UDPConn, config *tls.Config, how *quic.Config) (*quic.Conn, error) {
	t.Helper()
	conn, err := quicClient(t, "127.0.0.1").Dial(within(t), socket.LocalAddr(), config, how)
	if err == nil {
		t.Cleanup(func() { conn.CloseWithError(0, "") })
	}
	return conn, err
}

// doq serves DNS over QUIC.
func doq(t testing.TB, d *Door, source Credentials) (socket *net.UDPConn, stop func()) {
	t.Helper()
	socket = listenUDP(t)
	return socket, run(t, func(ctx ctx) error { return d.ServeQUIC(ctx, socket, source) })
}

// onQUIC serves DNS over QUIC and gives one connection to it.
func onQUIC(t testing.TB, d *Door) (conn *quic.Conn, stop func()) {
	t.Helper()
	id := newIdentity(t)
	socket, stop := doq(t, d, id.server())
	conn, err := connect(t, socket, id.client("doq"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, stop
}

// quicQuery is query with the ID 0.
func quicQuery(t testing.TB, host string, options ...miekg.EDNS0) []byte {
	t.Helper()
	return query(t, host, miekg.TypeA, func(m *miekg.Msg) {
		m.Id = 0
		if len(options) > 0 {
			edns(1232, options...)(m)
		}
	})
}

// begin sends octets on a stream of their own and does not end it.
func begin(t testing.TB, conn *quic.Conn, b []byte) *quic.Stream {
	t.Helper()
	stream, err := conn.OpenStreamSync(within(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := stream.Write(b); err != nil {
		t.Fatal(err)
	}
	return stream
}

// whole reads what a stream has to its end: one reply.
func whole(t testing.TB, stream *quic.Stream) (m *miekg.Msg, octets int) {
	t.Helper()
	b, err := io.ReadAll(stream)
	if err != nil || len(b) < 2 || int(binary.BigEndian.Uint16(b)) != len(b)-2 {
		t.Fatalf("%v: %x", err, b)
	}
	return read(t, b[2:]), len(b) - 2
}

// exchange asks on a stream of its own.
func exchange(t testing.TB, conn *quic.Conn, q []byte) (*miekg.Msg, int) {
	t.Helper()
	stream := begin(t, conn, framed(q))
	_ = stream.Close()
	return whole(t, stream)
}

// endsWith waits for the end of a connection and wants the door to have given this code for it.
func endsWith(t testing.TB, conn *quic.Conn, want quic.ApplicationErrorCode) {
	t.Helper()
	select {
	case <-conn.Context().Done():
	case <-within(t).Done():
		t.Fatal("the connection does not end")
	}
	var code *quic.ApplicationError
	if err := context.Cause(conn.Context()); !errors.As(err, &code) || !code.Remote || code.ErrorCode != want {
		t.Errorf("the connection ends with %v, want the code %#x", err, want)
	}
}

// resetWith wants the door to give a stream up with this code.
func resetWith(t testing.TB, stream *quic.Stream, want quic.StreamErrorCode) {
	t.Helper()
	var code *quic.StreamError
	if b, err := io.ReadAll(stream); !errors.As(err, &code) || !code.Remote || code.ErrorCode != want {
		t.Errorf("the stream ends with %x and %v, want the code %#x", b, err, want)
	}
}

func TestQueriesAreAnsweredOverQUIC(t *testing.T) {
	id := newIdentity(t)
	d := newDoor(t, Options{})
	socket, stop := doq(t, d, id.server())
	config := id.client("doq")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		conn, err := connect(t, socket, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, n := exchange(t, conn, quicQuery(t, "www.example.", &miekg.EDNS0_PADDING{}))
		if m.Id != 0 || len(m.Answer) != 1 || n != 468 {
			t.Errorf("%d octets: %v", n, m)
		}
		if m, n := exchange(t, conn, quicQuery(t, "missing.example.")); m.Rcode != miekg.RcodeNameError || n >= 468 {
			t.Errorf("%d octets: %v", n, m)
		}
		if m, _ := exchange(t, conn, quicQuery(t, "large.example.")); m.Truncated || len(m.Answer) != 100 {
			t.Errorf("%v", m)
		}
		if s := conn.ConnectionState(); s.TLS.NegotiatedProtocol != "doq" || s.TLS.DidResume != (i == 1) || s.Used0RTT {
			t.Errorf("visit %d: %+v", i, s)
		}
		_ = conn.CloseWithError(doqNoError, "")
	}
	stop()
	if s := d.Stats(); s.Queries["quic"] != 6 || s.Connections != 0 || s.CutOff != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNothingIsReadBeforeAHandshakeIsComplete(t *testing.T) {
	id := newIdentity(t)
	d := newDoor(t, Options{})
	socket, _ := doq(t, d, id.server())
	config := id.client("doq")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	first, err := connect(t, socket, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, first, quicQuery(t, "www.example."))
	second, err := quicClient(t, "127.0.0.1").DialEarly(within(t), socket.LocalAddr(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer second.CloseWithError(0, "")
	exchange(t, second, quicQuery(t, "www.example."))
	if s := second.ConnectionState(); s.Used0RTT || !s.TLS.DidResume {
		t.Errorf("early data is taken: %v, and the session is resumed: %v", s.Used0RTT, s.TLS.DidResume)
	}
}

func TestAClientThatBreaksTheRulesOfDNSOverQUICLosesItsConnection(t *testing.T) {
	good := quicQuery(t, "www.example.")
	reply := slices.Clone(good)
	reply[2] |= 0x80
	for name, b := range map[string][]byte{
		"an ID":                    framed(query(t, "www.example.", miekg.TypeA, nil)),
		"a keep-alive":             framed(quicQuery(t, "www.example.", &miekg.EDNS0_TCP_KEEPALIVE{Code: miekg.EDNS0TCPKEEPALIVE})),
		"two queries":              framed(good, good),
		"an octet too many":        append(framed(good), 0),
		"a length that is cut":     {0},
		"an end within the query":  framed(good)[:20],
		"a length that is a lie":   append([]byte{0, byte(len(good)) + 1}, good...),
		"nothing":                  {},
		"a reply":                  framed(reply),
		"an empty message":         {0, 0},
		"what is not a DNS header": framed([]byte("no query")),
	} {
		d := newDoor(t, Options{})
		conn, _ := onQUIC(t, d)
		stream := begin(t, conn, b)
		_ = stream.Close()
		endsWith(t, conn, doqProtocolError)
		if t.Failed() {
			t.Fatal(name)
		}
		if s := d.Stats(); s.CutOff != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestAQueryLongerThanAnyIsGivenUpAndItAlone(t *testing.T) {
	d := newDoor(t, Options{})
	conn, _ := onQUIC(t, d)
	stream := begin(t, conn, []byte{0xff, 0xff, 0, 0})
	resetWith(t, stream, doqExcessiveLoad)
	if m, _ := exchange(t, conn, quicQuery(t, "www.example.")); len(m.Answer) != 1 || d.Stats().Malformed != 1 {
		t.Errorf("%v: %+v", m, d.Stats())
	}
}

func TestAQueryThatAClientGivesUpIsGivenUp(t *testing.T) {
	gone := make(chan struct{})
	z := &zone{asked: make(chan Query, 1), then: func(ctx context.Context, q Query) (*dnswire.Answer, error, bool) {
		if q.Name != "slow.example" {
			return nil, nil, false
		}
		<-ctx.Done()
		close(gone)
		return nil, ctx.Err(), true
	}}
	d := newDoor(t, Options{Handler: z, Timeout: time.Hour})
	conn, _ := onQUIC(t, d)
	stream := begin(t, conn, framed(quicQuery(t, "slow.example.")))
	_ = stream.Close()
	<-z.asked
	stream.CancelRead(doqRequestCancelled) // STOP_SENDING
	<-gone

	stream = begin(t, conn, framed(quicQuery(t, "www.example."))[:20])
	stream.CancelWrite(doqRequestCancelled) // RESET_STREAM
	resetWith(t, stream, doqRequestCancelled)
	exchange(t, conn, quicQuery(t, "www.example."))
	if s := d.Stats(); s.CutOff != 0 || s.Queries["quic"] != 2 {
		t.Errorf("%+v", s)
	}
}

func TestAThousandStreamsAreServedSomeAtATime(t *testing.T) {
	const pipeline = 8
	var g gauge
	z := &zone{then: func(context.Context, Query) (*dnswire.Answer, error, bool) {
		defer g.leave()
		g.enter()
		return nil, nil, false
	}}
	d := newDoor(t, Options{Handler: z, Pipeline: pipeline})
	conn, _ := onQUIC(t, d)
	var asking sync.WaitGroup
	for range 1000 {
		asking.Go(func() {
			stream, err := conn.OpenStreamSync(within(t))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = stream.Write(framed(quicQuery(t, "www.example.")))
			_ = stream.Close()
			if b, err := io.ReadAll(stream); err != nil || len(b) < 12 {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	if s := d.Stats(); s.Queries["quic"] != 1000 || g.most.Load() > pipeline {
		t.Errorf("%d at a time: %+v", g.most.Load(), s)
	}
}

// gauge knows how many there are, and how many there were at one time.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) enter() {
	n := g.now.Add(1)
	for m := g.most.Load(); n > m && !g.most.CompareAndSwap(m, n); m = g.most.Load() {
	}
}

func (g *gauge) leave() { g.now.Add(-1) }

func TestADoorThatIsToldToEndAnswersWhatItHasBegunOverQUIC(t *testing.T) {
	z := &zone{hold: make(chan struct{}), asked: make(chan Query, 1)}
	d := newDoor(t, Options{Handler: z, Drain: 20 * time.Second})
	conn, stop := onQUIC(t, d)
	stream := begin(t, conn, framed(quicQuery(t, "slow.example.")))
	_ = stream.Close()
	<-z.asked
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	close(z.hold)
	if m, _ := whole(t, stream); m.Rcode != miekg.RcodeSuccess {
		t.Errorf("%v", m)
	}
	endsWith(t, conn, doqNoError)
	<-ended
	if s := d.Stats(); s.Waiting != 0 || s.Connections != 0 {
		t.Errorf("%+v", s)
	}
}

func TestConnectionsOfQUICAreLimited(t *testing.T) {
	id := newIdentity(t)
	d := newDoor(t, Options{Connections: 1})
	socket, _ := doq(t, d, id.server())
	first, err := connect(t, socket, id.client("doq"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, socket, id.client("doq"), nil); err == nil || d.Stats().Busy == 0 {
		t.Errorf("a second connection: %v, %+v", err, d.Stats())
	}
	_ = first.CloseWithError(doqNoError, "")
	waitFor(t, func() bool { return d.Stats().Connections == 0 })
	third, err := connect(t, socket, id.client("doq"), nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, third, quicQuery(t, "www.example."))
}

func TestWhereManyAreConnectedAClientShowsFirstThatItIsThere(t *testing.T) {
	d := newDoor(t, Options{Connections: 8, PerClient: 8})
	near, far := Client{netip.MustParseAddrPort("127.0.0.1:1"), QUIC}, Client{netip.MustParseAddrPort("192.168.1.2:1"), QUIC}
	for i := range 8 {
		if want := i >= 2; d.crowded(far) != want || d.crowded(near) {
			t.Errorf("with %d connections: %v for one of another host, %v for one of this", i, d.crowded(far), d.crowded(near))
		}
		if !d.openConnection(near) {
			t.Fatal("no connection")
		}
	}
}

func TestOneClientCannotTakeEveryConnection(t *testing.T) {
	d := newDoor(t, Options{Connections: 8})
	at := func(s string) Client { return Client{netip.MustParseAddrPort(s), TLS} }
	for _, c := range []Client{at("[fd00::1]:1"), at("[fd00::2]:1")} { // of one network
		if !d.openConnection(c) {
			t.Errorf("%v has no connection", c)
		}
	}
	if d.openConnection(at("[fd00::3]:1")) || d.Stats().Busy != 1 || d.Stats().Connections != 2 {
		t.Errorf("a third connection of one network: %+v", d.Stats())
	}
	if !d.openConnection(at("[fd00:1::1]:1")) || !d.openConnection(at("192.168.1.2:1")) {
		t.Error("others have none")
	}
	d.closeConnection(at("[fd00::1]:1"))
	if !d.openConnection(at("[fd00::3]:1")) {
		t.Error("a place that was left is not free")
	}
}

func TestAHandshakeThatFailsOverQUICLeavesNothing(t *testing.T) {
	id := newIdentity(t)
	d := newDoor(t, Options{})
	socket, _ := doq(t, d, id.server())
	if _, err := connect(t, socket, id.client("h3"), nil); err == nil {
		t.Error("another protocol is spoken")
	}
	if _, err := connect(t, socket, newIdentity(t).client("doq"), nil); err == nil {
		t.Error("a client trusts a certificate that it cannot")
	}
	waitFor(t, func() bool { return d.Stats().CutOff == 2 && d.Stats().Connections == 0 })
}

func TestAStrangerIsRefusedOverQUIC_AlsoOneThatMovesThere(t *testing.T) {
	id := newIdentity(t)
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	d := newDoor(t, Options{Clients: here})
	socket, _ := doq(t, d, id.server())
	if _, err := quicClient(t, "127.0.0.2").Dial(within(t), socket.LocalAddr(), id.client("doq"), nil); err == nil || d.Stats().Strangers == 0 || d.Stats().Connections != 0 {
		t.Errorf("a stranger connects: %v, %+v", err, d.Stats())
	}
	conn, err := connect(t, socket, id.client("doq"), nil)
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, conn, quicQuery(t, "www.example."))
	path, err := conn.AddPath(quicClient(t, "127.0.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := path.Probe(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := path.Switch(); err != nil {
		t.Fatal(err)
	}
	for conn.Context().Err() == nil { // the door goes over to the new path with one of the next packets
		stream, err := conn.OpenStreamSync(within(t))
		if err != nil {
			break
		}
		_, _ = stream.Write(framed(quicQuery(t, "www.example.")))
		_ = stream.Close()
		_, _ = io.ReadAll(stream)
	}
	endsWith(t, conn, doqUnspecifiedError)
}

func TestWithoutCertificatesNothingIsServedOverQUIC(t *testing.T) {
	if err := newDoor(t, Options{}).ServeQUIC(t.Context(), listenUDP(t), nil); err == nil {
		t.Error("served without a TLS configuration")
	}
}
