package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/quic-go/quic-go"

	"watertight/fault"
	"watertight/wire"
)

// quicConn is an authenticated QUIC connection (RFC 9000) with the flow of datagrams that carries it and nothing else.
type quicConn struct {
	*quic.Conn
	transport *quic.Transport
	flow      net.Conn
	code      quic.ApplicationErrorCode // that says that nothing is wrong
}

// Close ends the connection without an error.
func (c *quicConn) Close() error {
	err := c.CloseWithError(c.code, "")
	_ = c.transport.Close()
	_ = c.flow.Close() // the transport leaves it to us
	return err
}

// connectQUIC gives an authenticated QUIC connection to the upstream. No question travels before the handshake is
// complete (no 0-RTT), and no token links it to another connection.
func (s *secure) connectQUIC(ctx context.Context, try tryQUIC) (*quicConn, *Failure) {
	return reach(ctx, s.c, func(ctx context.Context, to netip.AddrPort) (*quicConn, *Failure) { return hidden(ctx, s, to, try) })
}

// tryQUIC makes one authenticated connection with a configuration of TLS.
type tryQUIC = func(context.Context, netip.AddrPort, *tls.Config) (*quicConn, *Failure)

func (s *secure) tryQUIC(ctx context.Context, to netip.AddrPort, config *tls.Config) (*quicConn, *Failure) {
	flow, fail := s.c.dialPacket(ctx, to)
	if fail != nil {
		return nil, fail
	}
	at := net.UDPAddrFromAddrPort(to)
	transport := &quic.Transport{Conn: wire.PacketConn(flow, at)}
	conn, err := transport.Dial(ctx, at, config, &quic.Config{
		HandshakeIdleTimeout:  s.c.options.Timeout, // ctx may end it before
		MaxIdleTimeout:        s.c.options.IdleTimeout,
		MaxIncomingStreams:    -1, // a resolver opens none: neither in DoQ (RFC 9250, section 4.2) nor in HTTP/3
		MaxIncomingUniStreams: s.speaks.uniStreams,
		InitialPacketSize:     s.c.packetSize(),
	})
	c := &quicConn{Conn: conn, transport: transport, flow: flow, code: s.speaks.noError}
	if err != nil {
		_ = transport.Close()
		_ = flow.Close()
		fail := s.rejected(err, s.unseen)
		if fail == nil {
			fail = s.failureQUIC(ctx, err)
		}
		var said *quic.TransportError
		fail.spoke = errors.As(err, &said) && said.ErrorCode.IsCryptoError()
		return nil, fail
	}
	return c, nil
}

// packetSize is that of QUIC's packets at first, in octets; 0 leaves it to QUIC. It is the least that there is where
// somebody on the way adds headers of his own.
func (c *Client) packetSize() uint16 {
	if c.options.Way.PacketRoom == 0 {
		return 0
	}
	return minPacket
}

// minPacket is the least that a path of QUIC has to carry (RFC 9000, section 14).
const minPacket = 1200

// failureQUIC is failure for what QUIC makes of the same mistakes.
func (s *secure) failureQUIC(ctx context.Context, err error) *Failure {
	const noApplicationProtocol = 0x100 + 120 // RFC 9001, section 4.8; RFC 8446, section 6
	var (
		version   *quic.VersionNegotiationError
		transport *quic.TransportError
		hop       *fault.Error
	)
	switch {
	case errors.As(err, &hop): // the flow broke, and whoever carried it says why
		return s.c.dialFailure(ctx, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.c.unreachable("refused the connection", err)
	case errors.As(err, &version):
		return s.c.unreachable("does not speak version 1 of QUIC", err)
	case errors.As(err, &transport) && transport.Remote && transport.ErrorCode == noApplicationProtocol:
		return s.c.unreachable("does not speak "+s.speaks.name+" on that port", err)
	case errors.As(err, &transport) && !transport.ErrorCode.IsCryptoError():
		return s.c.unreachable("ended the connection during the handshake", err)
	}
	return s.failure(ctx, err)
}

// dialPacket opens a flow of datagrams to an address of the upstream: the only way to get one.
func (c *Client) dialPacket(ctx context.Context, to netip.AddrPort) (net.Conn, *Failure) {
	flow, err := c.options.Way.DialPacket(ctx, to)
	if err != nil {
		return nil, c.dialFailure(ctx, err)
	}
	fault.Reached(ctx)
	return flow, nil
}
