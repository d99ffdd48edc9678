package dnsrig

import (
	"net"
	"net/netip"
	"testing"

	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/stamp"
	"watertight/upstream"
)

// What the target of ODoH of a rig is known by, and where a relay takes requests. The target has no address.
const (
	TargetName = "target.provider.example"
	TargetPath = "/dns-query"
	RelayPath  = "/proxy"
)

// TargetStamp writes the stamp of a target of ODoH.
func TargetStamp(t testing.TB, target *dnstest.ODoHTarget) string {
	t.Helper()
	at, err := name.New(name.MustHost(target.Host), Port(upstream.ODoH))
	if err != nil {
		t.Fatal(err)
	}
	return Stamp(t, stamp.Stamp{Kind: stamp.ODoHTarget, Host: at, Path: target.Path})
}

// RelayStamp writes the stamp of a relay of ODoH, without an address.
func RelayStamp(t testing.TB, at name.Target, hashes ...[32]byte) string {
	t.Helper()
	return Stamp(t, stamp.Stamp{Kind: stamp.ODoHRelay, Host: at, Path: RelayPath, Hashes: hashes})
}

// Literal describes an upstream of the rig that is known by its address alone; of ODoH that is its relay.
func (g *Rig) Literal(k upstream.Kind, at netip.Addr) upstream.Spec {
	s := upstream.Spec{URL: string(k) + "://" + at.String(), CA: CAFile(g.t, g.CA)}
	if k == upstream.ODoH {
		host, err := name.FromAddrPort(netip.AddrPortFrom(at, Port(k)))
		if err != nil {
			g.t.Fatal(err)
		}
		s.URL, s.Relay = TargetStamp(g.t, g.Target), RelayStamp(g.t, host)
	}
	return s
}

// odohOnLoopback starts a relay of ODoH on a listener of 127.0.0.1, with a target behind it.
func odohOnLoopback(t testing.TB, l net.Listener, ca *dnstest.CA, h dnstest.Handler) (*dnstest.Server, upstream.Upstream) {
	t.Helper()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	target := dnstest.NewODoHTarget(TargetName, TargetPath)
	s := dnstest.ServeODoH(l, ca.Issue(nil, []netip.Addr{at.Addr()}), target, h)
	t.Cleanup(func() { s.Close() })
	host, err := name.FromAddrPort(at)
	if err != nil {
		t.Fatal(err)
	}
	return s, Build(t, upstream.Spec{URL: TargetStamp(t, target), Relay: RelayStamp(t, host), CA: CAFile(t, ca)})
}
