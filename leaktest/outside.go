package leaktest

import (
	"net"
	"net/netip"
	"strings"
	"sync"
)

// outside are the sockets by which the test does as other programs do: what they send is judged where it is tried.
type outside struct {
	mu   sync.Mutex
	from map[netip.AddrPort]string // how a list of sockets has it
}

func (o *outside) add(network string, conn net.Conn) {
	from, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.from == nil {
		o.from = map[netip.AddrPort]string{}
	}
	from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
	o.from[from] = network + " " + from.String() + " "
}

// sent says that a packet was sent by one of them to where names are asked for in clear; or that it has a name, and is between one of
// them and a listener which has it, inside of this host.
func (o *outside) sent(s Sighting) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, from := o.from[s.From]
	_, to := o.from[s.To]
	return from && s.What != "label" || (from || to) && s.Interface == "lo"
}

// has says that it is one of these sockets, as a list has it.
func (o *outside) has(socket string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, begin := range o.from {
		if strings.HasPrefix(socket, begin) {
			return true
		}
	}
	return false
}
