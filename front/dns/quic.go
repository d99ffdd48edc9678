package dns

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// Windows of flow control in octets: what a client may send before it is read. Queries are short.
const (
	streamWindow = 16 << 10
	connWindow   = 64 << 10
)

// overQUIC is what a protocol over QUIC asks of its connections.
type overQUIC struct {
	proto   Proto
	alpn    string
	uni     int64                     // streams that a client may open towards us only; -1 for none
	noError quic.ApplicationErrorCode // that says that nothing is wrong
	serve   func(*quicConn)           // until the connection ends, or draining begins and the queries are answered
}

// serveQUIC accepts connections of QUIC (RFC 9000) until ctx ends, lets queries under way end, and closes socket. Nothing
// is read before a handshake is complete: there is no 0-RTT.
func (d *Door) serveQUIC(ctx context.Context, socket net.PacketConn, o overQUIC, source Credentials) error {
	defer socket.Close()
	own, config, err := d.tlsFor(source, o.proto, o.alpn)
	if err != nil {
		return err
	}
	var open sync.WaitGroup // connections that are counted: each ends at the latest with the transport
	defer open.Wait()
	transport := &quic.Transport{
		Conn:                socket,
		VerifySourceAddress: func(addr net.Addr) bool { return d.crowded(clientOf(addr, o.proto)) },
		ConnContext: func(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
			return d.admit(ctx, clientOf(info.RemoteAddr, o.proto), own, &open)
		},
	}
	defer transport.Close() // its connections are closed before
	listener, err := transport.Listen(config, &quic.Config{
		HandshakeIdleTimeout:           d.o.Stall,
		MaxIdleTimeout:                 d.o.Idle + d.o.Stall, // we end it before, and say so
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             int64(d.o.Pipeline),
		MaxIncomingUniStreams:          o.uni,
	})
	if err != nil {
		return err
	}
	s := d.newServing(ctx)
	defer s.end()
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept(context.Background()) // once closed, it gives those that are complete first
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		s.greet(conn, o)
	}
}

// crowded says whether a client has to show first that it is where its packets say (RFC 9000, section 8.1.2): where so many
// connections are open, in all or of that address, that forged ones could keep others out.
func (d *Door) crowded(c Client) bool {
	addr := c.Addr.Addr()
	return !d.isNear(addr) && (d.stats.connections.Load() >= int64(d.o.Connections/4) || d.crowd.size(together(addr)) >= d.o.PerClient/4)
}

// admitted is a connection that is counted until it ends.
type admitted struct{ complete atomic.Bool }

type admittedKey struct{}

var errFull = errors.New("dns: there are as many connections as may be")

// admit counts a connection that begins, or refuses it. ctx ends with the connection, and open holds until that is counted.
func (d *Door) admit(ctx context.Context, c Client, own *credentials, open *sync.WaitGroup) (context.Context, error) {
	if !own.demands() && !d.serves(c) {
		return nil, errStranger
	}
	if !d.openConnection(c) {
		return nil, errFull
	}
	a := new(admitted)
	open.Add(1)
	context.AfterFunc(ctx, func() {
		defer open.Done()
		d.closeConnection(c)
		if !a.complete.Load() {
			d.handshakeFailed()
		}
	})
	return context.WithValue(ctx, admittedKey{}, a), nil
}

// quicConn is one connection of QUIC being served.
type quicConn struct {
	*quic.Conn
	s      *serving
	o      overQUIC
	proven bool // the client has shown a certificate that was demanded

	mu     sync.Mutex
	under  int         // streams being served
	idle   *time.Timer // runs while there are none
	over   bool        // it was idle for too long
	spoken time.Time   // when the last stream was served
	wg     sync.WaitGroup
}

// greet serves a connection whose handshake is complete, in a goroutine of its own.
func (s *serving) greet(conn *quic.Conn, o overQUIC) {
	if a, ok := conn.Context().Value(admittedKey{}).(*admitted); ok {
		a.complete.Store(true)
	}
	if !s.enter() {
		_ = conn.CloseWithError(o.noError, "")
		return
	}
	c := &quicConn{Conn: conn, s: s, o: o, spoken: time.Now()}
	c.proven = len(conn.ConnectionState().TLS.VerifiedChains) > 0
	c.idle = time.AfterFunc(s.d.o.Idle, c.expire)
	go func() {
		defer s.leave()
		defer c.idle.Stop()
		defer context.AfterFunc(s.ctx, c.finish)() // the time to drain is over
		o.serve(c)
		c.linger()
		c.finish()
	}()
}

// finish ends the connection without an error. What was written and has not been sent is lost.
func (c *quicConn) finish() { _ = c.CloseWithError(c.o.noError, "") }

// expire ends a connection on which nothing was asked for long: packets that only keep it open do not count.
func (c *quicConn) expire() {
	c.mu.Lock()
	c.over = c.under == 0
	over := c.over
	c.mu.Unlock()
	if over {
		c.finish()
	}
}

// streams gives each stream of the client to serve, in a goroutine of its own, and ends when draining begins or the
// connection ends, after those that it gave. There are [Options.Pipeline] at a time: where a client gives one up, its place
// is free when serve has come upon that.
func (c *quicConn) streams(serve func(*quic.Stream)) {
	defer c.wg.Wait()
	for {
		stream, err := c.AcceptStream(c.s.draining) // one that is there already, even where draining has begun
		if err != nil {
			return
		}
		if !c.begin() {
			return
		}
		c.wg.Go(func() {
			defer c.end()
			defer c.survive(stream)
			serve(stream)
		})
	}
}

// begin counts a stream, unless the connection is over.
func (c *quicConn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.under++
	c.idle.Stop()
	return true
}

func (c *quicConn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under--
	c.spoken = time.Now()
	if c.under == 0 {
		c.idle.Reset(c.s.d.o.Idle)
	}
}

// survive ends a stream whose query made the program panic, and it alone.
func (c *quicConn) survive(stream *quic.Stream) {
	if v := recover(); v != nil {
		_ = c.s.d.panicked(v)
		stream.CancelRead(doqInternalError)
		stream.CancelWrite(doqInternalError)
	}
}

// lingering is how long after the last reply a connection stays open that we end: a reply is on its way then, or on its way
// again, and the end of the connection would overtake it.
const lingering = 250 * time.Millisecond

// linger waits for the last replies to arrive. Nobody tells when they have.
func (c *quicConn) linger() {
	c.mu.Lock()
	rest := time.Until(c.spoken.Add(max(lingering, 3*c.ConnectionStats().SmoothedRTT)))
	c.mu.Unlock()
	t := time.NewTimer(rest)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.Context().Done():
	case <-c.s.ctx.Done():
	}
}

// client is who asks now: a client may move to another address (RFC 9000, section 9). It says false where it is not served
// there.
func (c *quicConn) client() (Client, bool) {
	who := clientOf(c.RemoteAddr(), c.o.proto)
	return who, c.proven || c.s.d.serves(who)
}
