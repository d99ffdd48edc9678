package wireguard

import (
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// stream is a connection inside a tunnel, which stays up as long as one is open.
type stream struct {
	*gonet.TCPConn
	leave func()
}

// Close ends the connection.
func (s *stream) Close() error {
	err := s.TCPConn.Close()
	s.leave()
	return err
}

// packets is a flow of datagrams inside a tunnel.
type packets struct {
	*gonet.UDPConn
	leave func()
}

// Close ends the flow.
func (p *packets) Close() error {
	err := p.UDPConn.Close()
	p.leave()
	return err
}
