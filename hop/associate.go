package hop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"watertight/fault"
	"watertight/name"
	"watertight/socks"
)

// maxPayload is the most octets of a datagram: what UDP has room for over IPv4 (RFC 768, RFC 791).
const maxPayload = 65507

var (
	errRelayName    = errors.New("it gave a name for its relay, and no name in a reply is resolved")
	errRelayAddress = errors.New("it gave no address for its relay")
)

// associate asks the proxy at the other end of conn to carry datagrams (RFC 1928, section 7), and gives the address of its
// relay. at is where the proxy is: the relay is there too where the reply says no more (0.0.0.0). It closes conn if it fails.
func (l *link) associate(ctx context.Context, conn net.Conn, at name.Target) (relay name.Target, err error) {
	err = l.handshake(ctx, conn, func() error {
		buf := socksBuffers.Get().(*socks.Buffer)
		defer socksBuffers.Put(buf)
		l.waiting(ctx, false)
		if err := l.negotiate(conn, buf); err != nil {
			return err
		}
		if err := say(conn, socks.AppendAssociate(buf[:0])); err != nil {
			return l.lost(err, false)
		}
		code, bound, err := socks.ReadReply(conn, buf)
		switch {
		case errors.Is(err, socks.ErrBadReply):
			return l.nonsense(err)
		case err != nil:
			return l.lost(err, false)
		case code != socks.Succeeded:
			return l.noDatagrams(code.String(), fmt.Errorf("%w: socks reply %d", errAnswered, code))
		}
		relay, err = l.relayAt(bound, at)
		return err
	})
	return relay, err
}

// relayAt reads where the relay is. A name stays text (leaks.md, A7), and an address that only this host or its own network
// has is taken from a proxy alone that is there too: none else may choose who there is sent datagrams.
func (l *link) relayAt(bound socks.Bound, at name.Target) (name.Target, error) {
	switch addr := bound.Addr.Addr(); {
	case bound.Name != "":
		return name.Target{}, l.nonsense(errRelayName)
	case !addr.IsValid() || bound.Addr.Port() == 0:
		return name.Target{}, l.nonsense(errRelayAddress)
	case addr.IsUnspecified():
		t, err := name.New(at.Host(), bound.Addr.Port())
		if err != nil {
			return name.Target{}, l.nonsense(err)
		}
		return t, nil
	}
	proxy, _ := at.Host().Addr()
	if relay := bound.Addr.Addr(); relay != proxy && (scope(relay) == nowhere || scope(relay) < scope(proxy)) {
		return name.Target{}, l.noDatagrams("its relay would be at "+relay.String()+", which is not beside the proxy", errAnswered)
	}
	t, err := name.FromAddrPort(bound.Addr)
	if err != nil {
		return name.Target{}, l.nonsense(err)
	}
	return t, nil
}

// Who can have an address.
const (
	nowhere = iota // no one host
	thisHost
	thisLink
	thisNetwork
	anybody
)

// scope says from how far an address can be spoken to. That of a proxy which is not known counts as anybody's.
func scope(a netip.Addr) int {
	switch {
	case !a.IsValid():
		return anybody
	case a.IsMulticast(), a.IsUnspecified(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return nowhere
	case a.IsLoopback():
		return thisHost
	case a.IsLinkLocalUnicast():
		return thisLink
	case a.IsPrivate():
		return thisNetwork
	}
	return anybody
}

// association is a flow of datagrams to one target through the relay of a SOCKS5 proxy. It lives as long as the connection
// over which it was asked for.
type association struct {
	net.Conn          // the flow to the relay, from which nobody else is heard
	control  net.Conn // the connection
	l        *link
	header   []byte // of each datagram to the target

	once sync.Once

	mu   sync.Mutex
	why  error          // why it ended
	from netip.AddrPort // where the target answers from, if it was asked for by name and has answered

	reading sync.Mutex
	in      []byte

	writing sync.Mutex
	out     []byte

	target name.Target
}

func newAssociation(l *link, control, flow net.Conn, t name.Target) *association {
	a := &association{Conn: flow, control: control, l: l, target: t, header: socks.AppendDatagramHeader(nil, t)}
	go a.watch()
	return a
}

// watch waits for the end of the connection, on which nothing is said any more.
func (a *association) watch() {
	_, err := io.Copy(io.Discard, a.control)
	a.end(fault.New(fault.HopRefused, a.l.label+" ended the association that carries datagrams", err))
}

func (a *association) end(why error) {
	a.once.Do(func() {
		a.mu.Lock()
		a.why = why
		a.mu.Unlock()
		a.control.Close()
		a.Conn.Close()
	})
}

// Close ends the association and the connection over which it was asked for.
func (a *association) Close() error {
	a.end(net.ErrClosed)
	return nil
}

// Read gives the next datagram of the target. Fragments, what somebody else sent, and what has no room in b are dropped.
func (a *association) Read(b []byte) (int, error) {
	a.reading.Lock()
	defer a.reading.Unlock()
	if need := min(len(b), maxPayload) + socks.MaxDatagramHeader + 1; len(a.in) < need {
		a.in = make([]byte, need)
	}
	for {
		n, err := a.Conn.Read(a.in)
		if err != nil {
			return 0, a.failed(err)
		}
		d, err := socks.ParseDatagram(a.in[:n])
		if err != nil || d.Fragment != 0 || len(d.Payload) > len(b) || n == len(a.in) || !a.expected(d) {
			continue
		}
		return copy(b, d.Payload), nil
	}
}

// expected says whether a datagram is the target's. A target that was asked for by name may answer from an address, which
// the proxy alone knows: from then on it is that one.
func (a *association) expected(d socks.Datagram) bool {
	if d.Port != a.target.Port() {
		return false
	}
	if d.Host == a.target.Host() {
		return true
	}
	addr, isAddr := d.Host.Addr()
	if _, named := a.target.Host().Name(); !named || !isAddr {
		return false
	}
	from := netip.AddrPortFrom(addr, d.Port)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.from.IsValid() {
		a.from = from
	}
	return a.from == from
}

// Write sends one datagram to the target.
func (a *association) Write(b []byte) (int, error) {
	if len(a.header)+len(b) > maxPayload {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: syscall.EMSGSIZE}
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	a.out = append(append(a.out[:0], a.header...), b...)
	if _, err := a.Conn.Write(a.out); err != nil {
		return 0, a.failed(err)
	}
	return len(b), nil
}

// failed says why the flow to the relay failed. What is only late, or too long, is no fault of the proxy.
func (a *association) failed(err error) error {
	a.mu.Lock()
	why := a.why
	a.mu.Unlock()
	var known *fault.Error
	switch {
	case why != nil:
		return why
	case isTimeout(err), errors.Is(err, syscall.EMSGSIZE), errors.Is(err, net.ErrClosed), errors.As(err, &known):
		return err
	}
	return fault.New(fault.HopRefused, "the relay of "+a.l.label+" takes no datagrams", err)
}

// SetReadBuffer and SetWriteBuffer pass on what QUIC asks of a socket of the kernel.
func (a *association) SetReadBuffer(octets int) error {
	if c, ok := a.Conn.(interface{ SetReadBuffer(int) error }); ok {
		return c.SetReadBuffer(octets)
	}
	return nil
}

func (a *association) SetWriteBuffer(octets int) error {
	if c, ok := a.Conn.(interface{ SetWriteBuffer(int) error }); ok {
		return c.SetWriteBuffer(octets)
	}
	return nil
}
