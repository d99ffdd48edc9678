package leaktest

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// outside are the sockets by which the test does as other programs do: what they send is judged where it is tried.
type outside struct {
	mu   sync.Mutex
	from map[netip.AddrPort]far
}

// far is where one of them leads, and how a list of sockets has it.
type far struct {
	to    netip.AddrPort
	begin string
}

func (o *outside) add(network string, conn net.Conn) {
	from, err := netip.ParseAddrPort(conn.LocalAddr().String())
	to, err2 := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil || err2 != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.from == nil {
		o.from = map[netip.AddrPort]far{}
	}
	from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
	o.from[from] = far{netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), network + " " + from.String() + " "}
}

// sent says that a packet was sent by one of them to where names are asked for in clear; or that it has a name, and is between one of
// them and a listener which has it, inside of this host.
func (o *outside) sent(s Sighting) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	one, from := o.from[s.From]
	_, to := o.from[s.To]
	return from && s.What != "label" && one.to == s.To || (from || to) && s.Interface == "lo"
}

// has says that it is one of these sockets, as a list has it.
func (o *outside) has(socket string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.from {
		if strings.HasPrefix(socket, one.begin) {
			return true
		}
	}
	return false
}

// ended says that the other side of a connection has ended it.
func ended(conn net.Conn) bool {
	if err := conn.SetReadDeadline(time.Now().Add(endedWait)); err != nil {
		return true
	}
	_, err := conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// endedWait is how long an end that has come may take to be heard.
const endedWait = 50 * time.Millisecond

// unroutable says that a host has no address or no route of a family.
func unroutable(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}
