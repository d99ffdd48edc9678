package wire

import (
	"errors"
	"net"
	"net/netip"
)

// RelayClient is a datagram socket for a relay of this very process, from before it is known where that is: whoever asks for the relay
// says from which port its datagrams will come. It sends to the relay alone, and hears nobody else.
type RelayClient struct {
	*net.UDPConn
	to netip.AddrPort // not valid until it is known
}

var errNoRelay = errors.New("wire: it is not known yet where the relay is")

// ListenForRelay opens one at an address of this host.
func ListenForRelay(at netip.Addr) (*RelayClient, error) {
	socket, err := ListenUDP(netip.AddrPortFrom(at, 0))
	if err != nil {
		return nil, err
	}
	return &RelayClient{UDPConn: socket}, nil
}

// From is the port that it sends from.
func (c *RelayClient) From() uint16 { return c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// Lead says where the relay is, before anything else is done with the socket. One at every address is reached at the socket's own.
func (c *RelayClient) Lead(to netip.AddrPort) error {
	addr := to.Addr().Unmap()
	if addr.IsUnspecified() {
		addr = c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	}
	to = netip.AddrPortFrom(addr, to.Port())
	if err := mayDial(to); err != nil {
		return err
	}
	c.to = to
	return nil
}

// Write sends a datagram to the relay.
func (c *RelayClient) Write(b []byte) (int, error) {
	if !c.to.IsValid() {
		return 0, errNoRelay
	}
	return c.WriteToUDPAddrPort(b, c.to)
}

// Read gives the relay's next datagram.
func (c *RelayClient) Read(b []byte) (int, error) {
	if !c.to.IsValid() {
		return 0, errNoRelay
	}
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil || netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) == c.to {
			return n, err
		}
	}
}
