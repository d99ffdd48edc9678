package dnsrig

import (
	"net"
	"net/netip"
	"testing"

	"watertight/lab/dnstest"
	"watertight/stamp"
	"watertight/upstream"
	"watertight/wire"
)

// CryptStamp writes the stamp of a resolver of DNSCrypt.
func CryptStamp(t testing.TB, p *dnstest.Provider, at netip.AddrPort) string {
	t.Helper()
	return Stamp(t, stamp.Stamp{Kind: stamp.DNSCrypt, Addr: at, Provider: p.Name, PublicKey: p.Key()})
}

// Stamp writes a stamp that has to be good.
func Stamp(t testing.TB, s stamp.Stamp) string {
	t.Helper()
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// cryptOnLoopback starts a resolver of DNSCrypt on one port of TCP and UDP.
func cryptOnLoopback(t testing.TB, at netip.AddrPort, h dnstest.Handler) (*dnstest.Server, upstream.Upstream) {
	t.Helper()
	l, err := wire.ListenTCP(at)
	if err != nil {
		t.Fatal(err)
	}
	at = l.Addr().(*net.TCPAddr).AddrPort()
	socket, err := wire.ListenUDP(at)
	if err != nil {
		l.Close()
		t.Fatal(err)
	}
	p := dnstest.NewProvider()
	s := dnstest.ServeDNSCrypt(l, socket, p, h)
	t.Cleanup(func() { s.Close() })
	return s, Build(t, upstream.Spec{URL: CryptStamp(t, p, at)})
}
