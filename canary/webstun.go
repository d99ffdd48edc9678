package canary

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"

	"watertight/wire"
)

// The messages of STUN that are read and written (RFC 8489, sections 5 and 14.2).
const (
	stunHeader    = 20
	stunCookie    = 0x2112a442
	stunBinding   = 0x0001
	stunBound     = 0x0101
	stunXORMapped = 0x0020
	stunLongest   = 548 // octets that are read of a request
)

// ServeSTUN tells those who ask by STUN which address they have, until ctx ends; then it closes the socket and gives nil. A
// browser asks where the page has it look for its addresses: datagrams that go around a proxy show so. An answer has 24
// octets more than the shortest question, and no network is answered more often than the page's; what comes with forged
// addresses takes nothing from those who open the page.
func (w *Web) ServeSTUN(ctx context.Context, socket *net.UDPConn) error {
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	b, out := make([]byte, stunLongest), ipv4.NewPacketConn(socket) // of both families
	for {
		n, from, err := socket.ReadFromUDPAddrPort(b)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // an ICMP error of an answer before
			time.Sleep(time.Millisecond)
			continue
		}
		client := netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
		if answer := bound(b[:n], client); answer != nil && w.stunRate.take(client.Addr()) {
			if wire.DontWait == 0 {
				_, _ = socket.WriteToUDPAddrPort(answer, from) // who is not answered asks again
				continue
			}
			_, _ = out.WriteBatch([]ipv4.Message{{Buffers: [][]byte{answer}, Addr: net.UDPAddrFromAddrPort(from)}}, wire.DontWait)
		}
	}
}

// bound is the answer to a Binding request, and nil for anything else.
func bound(request []byte, from netip.AddrPort) []byte {
	if len(request) < stunHeader || binary.BigEndian.Uint16(request) != stunBinding || binary.BigEndian.Uint32(request[4:]) != stunCookie ||
		int(binary.BigEndian.Uint16(request[2:])) != len(request)-stunHeader || len(request)%4 != 0 {
		return nil
	}
	addr, family := from.Addr().AsSlice(), byte(1)
	if len(addr) == 16 {
		family = 2
	}
	value := append([]byte{0, family}, binary.BigEndian.AppendUint16(nil, from.Port()^stunCookie>>16)...)
	for i, b := range addr {
		value = append(value, b^request[4+i])
	}
	answer := binary.BigEndian.AppendUint16(nil, stunBound)
	answer = binary.BigEndian.AppendUint16(answer, uint16(4+len(value)))
	answer = append(answer, request[4:stunHeader]...)
	answer = binary.BigEndian.AppendUint16(answer, stunXORMapped)
	answer = binary.BigEndian.AppendUint16(answer, uint16(len(value)))
	return append(answer, value...)
}
