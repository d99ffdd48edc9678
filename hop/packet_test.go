package hop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"watertight/fault"
	"watertight/name"
)

// streams is a ground for connections alone.
type streams struct{}

func (streams) DialAddr(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, syscall.ECONNREFUSED
}

// packets is a ground for datagrams too. It refuses, and keeps what it was asked for.
type packets struct {
	streams
	asked *netip.AddrPort
}

func (p packets) DialPacketAddr(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	*p.asked = to
	return nil, syscall.ENETUNREACH
}

func TestDirectCarriesDatagramsWhereItsGroundDoes(t *testing.T) {
	if _, ok := Direct(streams{}).(PacketDialer); ok {
		t.Error("a ground without datagrams carries them")
	}
	var asked netip.AddrPort
	d, ok := Direct(packets{asked: &asked}).(PacketDialer)
	if !ok {
		t.Fatal("a ground with datagrams does not carry them")
	}
	at := netip.MustParseAddrPort("192.0.2.1:853")
	target, err := name.FromAddrPort(at)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.DialPacket(t.Context(), target)
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.ConnectUnreachable || asked != at {
		t.Errorf("%v, and %v was asked for", err, asked)
	}
	if target, err = name.Parse("dns.example.com:853"); err != nil {
		t.Fatal(err)
	}
	asked = netip.AddrPort{}
	if _, err = d.DialPacket(t.Context(), target); !errors.As(err, &f) || f.Code != fault.Internal || asked.IsValid() {
		t.Errorf("a name on the ground: %v, and %v was asked for", err, asked)
	}
}
