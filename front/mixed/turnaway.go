package mixed

import (
	"io"
	"net"
	"time"

	"watertight/fault"
	"watertight/httphead"
)

const (
	// turning bounds the clients that are told why they are turned away, at one time; others are just closed.
	turning = 64
	// turnTime bounds what it takes to tell one.
	turnTime = time.Second
)

// turnAway ends a connection over the limit. The client is told in its own protocol if that costs little.
func (p *Port) turnAway(conn *net.TCPConn) {
	defer p.leave(conn)
	defer conn.Close()
	p.tell(conn, func() ([]byte, error) {
		head, err := firstOctets(conn)
		if err != nil {
			return nil, err
		}
		return tooMany(head[0]), nil
	})
}

// tell sends the last words of a connection, if that costs little. The caller closes it.
func (p *Port) tell(conn *net.TCPConn, words func() ([]byte, error)) {
	defer p.turning.Add(-1)
	if p.turning.Add(1) > turning {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(turnTime))
	b, err := words()
	if err != nil {
		return
	}
	if _, err := conn.Write(b); err != nil {
		return
	}
	_ = conn.CloseWrite()
	_, _ = io.CopyN(io.Discard, conn, 64<<10) // so that the answer is read before the connection is reset
}

// tooMany is the answer over the limit in the protocol of the first octet.
func tooMany(first byte) []byte {
	switch first {
	case 4:
		return []byte{0, 91, 0, 0, 0, 0, 0, 0} // request rejected or failed
	case 5:
		return []byte{5, 0xff} // no acceptable methods (RFC 1928, section 3): there is no word for it
	default:
		f := fault.New(fault.Limit, "the proxy has as many connections as it may", nil)
		return httphead.Refusal{Fault: f, Close: true}.Append(nil)
	}
}

// noTLS is the answer to a client that begins TLS. Clients know one in clear text for what it is ("wrong version
// number", "does not look like a TLS handshake"), and a closed connection they do not.
func noTLS() ([]byte, error) {
	f := fault.New(fault.BadRequest, "this port does not speak TLS", nil)
	f.Hint = "give the proxy as http://HOST:PORT, not https://"
	return httphead.Refusal{Fault: f, Close: true}.Append(nil), nil
}
