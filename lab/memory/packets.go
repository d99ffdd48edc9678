package memory

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"time"

	"watertight/lab/dnstest"
	"watertight/lab/proxytest"
	"watertight/name"
	"watertight/socks"
)

// PacketGround is a [Ground] on which datagrams travel too.
type PacketGround struct{ Ground }

// PacketGround gives the ground of a party, with datagrams.
func (in *Internet) PacketGround(party string) PacketGround { return PacketGround{in.Ground(party)} }

// DialPacketAddr opens a flow of datagrams to an address, and notes that the party did.
func (g PacketGround) DialPacketAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	l := &link{from: g.party, to: to}
	g.in.mu.Lock()
	g.in.links = append(g.in.links, l)
	g.in.mu.Unlock()
	flow, err := g.in.net.DialPacketAddr(ctx, to)
	if err != nil {
		return nil, err
	}
	return &tap{Conn: flow, link: l}, nil
}

// Net is the network itself, for servers of another kind than those of this package. What they do is no link of
// anybody's.
func (in *Internet) Net() *dnstest.Net { return &in.net }

// OnClose lets f run when the internet is closed, before it waits for what runs.
func (in *Internet) OnClose(f func()) { in.onClose(f) }

// associate carries datagrams for a client of SOCKS5 as long as its connection lives (RFC 1928, section 7). The relay is at
// the proxy's own address, on the next free port behind it.
func (p *Proxy) associate(r io.Reader, conn net.Conn) {
	p.mu.Lock()
	p.relays++
	at := netip.AddrPortFrom(p.At.Addr(), p.At.Port()+p.relays)
	refuses := p.streamsOnly
	p.mu.Unlock()
	if refuses {
		_, _ = conn.Write([]byte{5, byte(socks.CommandUnsupported), 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	relay := proxytest.ServeSOCKSRelay(p.in.net.ListenPacket(at), p.reachPacket)
	defer relay.Close()
	reply := []byte{5, 0, 0, 1, 0, 0, 0, 0}
	_, _ = conn.Write(binary.BigEndian.AppendUint16(reply, at.Port()))
	_, _ = io.Copy(io.Discard, r)
}

// HTTP3 starts a proxy over QUIC: CONNECT, and connect-udp (RFC 9298). From then on datagrams take a moment to travel.
func (in *Internet) HTTP3(name, at string) *Proxy {
	in.net.Delay = time.Millisecond
	p := &Proxy{Name: name, At: netip.MustParseAddrPort(at), in: in, http3: true}
	p.Start()
	in.onClose(p.Stop)
	return p
}

func (p *Proxy) startHTTP3() (stop func()) {
	server := proxytest.ServeH3(p.in.net.ListenPacket(p.At), p.in.auth.CA.Issue(nil, []netip.Addr{p.At.Addr()}), proxytest.H3Options{
		Connect: func(t name.Target) (net.Conn, error) { return p.reach(t.Host().String(), t.Port()) },
		Packets: p.reachPacket, PacketSize: 1400, // a datagram of a resolver over QUIC has room in it
	})
	return func() { server.Close() }
}

// reachPacket opens a flow of datagrams to what a client asked for.
func (p *Proxy) reachPacket(t name.Target) (net.Conn, error) {
	p.mu.Lock()
	p.asked = append(p.asked, t.String())
	p.mu.Unlock()
	addr, isAddr := t.Host().Addr()
	if !isAddr {
		host, _ := t.Host().Name()
		p.in.learn(p.Name, host)
		var err error
		if addr, err = p.in.lookUp(host); err != nil {
			return nil, err
		}
	}
	return p.in.PacketGround(p.Name).DialPacketAddr(p.in.ctx, netip.AddrPortFrom(addr, t.Port()))
}

// Relays gives the addresses of the relays that the proxy had so far.
func (p *Proxy) Relays() (all []netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.relays {
		all = append(all, netip.AddrPortFrom(p.At.Addr(), p.At.Port()+i+1))
	}
	return all
}

// StreamsOnly lets the proxy refuse to carry datagrams.
func (p *Proxy) StreamsOnly() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streamsOnly = true
}
