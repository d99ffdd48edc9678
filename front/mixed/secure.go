package mixed

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"watertight/acme"
	"watertight/fault"
	"watertight/gate"
	"watertight/httphead"
	"watertight/wire"
)

// secure makes a connection one with TLS, and reads the first octets inside it; none for HTTP/2. It gives false where the client does not
// get as far, and the connection is closed. The whole has as long as a first octet.
func (p *Port) secure(guest *gate.Guest, conn *net.TCPConn, head []byte, config *tls.Config) (first []byte, ok bool) {
	if head[0] != tlsHandshake {
		p.stats.unknown.Add(1)
		p.o.Logger.Info("a client was turned away", "reason", "it does not speak TLS, and this port does: give the proxy as https://, not http://")
		p.tell(conn, func() ([]byte, error) { return onlyTLS(head[0]), nil })
		_ = conn.Close()
		return nil, false
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.o.FirstOctet)
	defer cancel()
	c := &gate.Secure{Conn: tls.Server(wire.WithHead(conn, head), config), Socket: conn}
	if err := c.HandshakeContext(ctx); err != nil {
		p.stats.handshakes.Add(1)
		_ = conn.Close()
		return nil, false
	}
	state := c.ConnectionState()
	if state.NegotiatedProtocol == acme.Protocol {
		_ = c.Close() // the validation of a certificate ends here, and nobody was asked who he is
		return nil, false
	}
	user, err := gate.CertifiedUser(&state)
	if err != nil {
		_ = c.Close() // the handshake has seen to that
		return nil, false
	}
	guest.Conn = c
	if len(state.PeerCertificates) > 0 {
		guest.Shown = state.PeerCertificates[0]
	}
	if gate.Vouches(config.ClientCAs, &state) { // the handshake may have been by another configuration
		guest.Certified, guest.Authorities = user, config.ClientCAs
	}
	if state.NegotiatedProtocol == gate.HTTP2 {
		return nil, true
	}
	_ = conn.SetReadDeadline(time.Now().Add(p.o.FirstOctet))
	buf := make([]byte, firstInside)
	n, err := c.Read(buf)
	if n == 0 || err != nil {
		_ = c.Close()
		return nil, false
	}
	_ = conn.SetReadDeadline(time.Time{})
	return buf[:n], true
}

// firstInside is how much is read at once inside TLS: the whole of most requests' heads.
const firstInside = 2 << 10

// onlyTLS is the answer to a client in clear text, in the protocol of its first octet.
func onlyTLS(first byte) []byte {
	switch first {
	case 4, 5:
		return tooMany(first) // it says no, and no more
	}
	f := fault.New(fault.BadRequest, "this port speaks TLS only", nil)
	f.Hint = "give the proxy as https://HOST:PORT, not http://"
	return httphead.Refusal{Fault: f, Close: true}.Append(nil)
}
