package route

import (
	"net/netip"
	"testing"

	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

func codeOf(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func TestTheProgramsOwnListenersAreNoTargets(t *testing.T) {
	p := Sealed()
	p.PrivateTargets = Allow
	table := &Table{policy: p, sink: event.Discard{}, own: map[netip.AddrPort]bool{
		netip.MustParseAddrPort("192.168.1.5:8080"): true,
		netip.MustParseAddrPort("0.0.0.0:9090"):     true,
	}}
	for target, want := range map[string]fault.Code{
		"192.168.1.5:8080":        fault.PolicyPrivateTarget,
		"192.168.1.5:8081":        "",
		"127.0.0.1:9090":          fault.PolicyPrivateTarget,
		"[::1]:9090":              fault.PolicyPrivateTarget,
		"[::ffff:127.0.0.1]:9090": fault.PolicyPrivateTarget,
		"[64:ff9b::7f00:1]:9090":  fault.PolicyPrivateTarget,
		"0.0.0.0:9090":            fault.PolicyPrivateTarget,
		"127.0.0.1:9091":          "",
		"[2002:c0a8:105::]:8080":  fault.PolicyPrivateTarget,
	} {
		tg := name.Must(target)
		a, _ := tg.Host().Addr()
		if got := codeOf(table.check(tg)(a)); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func TestAForeignResolverIsKnownInEveryDisguise(t *testing.T) {
	p := Sealed()
	p.ResolverAddrs = []netip.Addr{netip.MustParseAddr("1.1.1.1")}
	p.ResolverNames = []string{"dns.example.net"}
	table := &Table{policy: p, sink: event.Discard{}}
	for target, want := range map[string]fault.Code{
		"1.1.1.1:443":            fault.PolicyForeignResolver,
		"[64:ff9b::101:101]:443": fault.PolicyForeignResolver,
		"[2002:101:101::]:443":   fault.PolicyForeignResolver,
		"1.1.1.2:443":            "",
		"api.example.com:853":    fault.PolicyForeignResolver,
		"api.example.com:53":     fault.PolicyForeignResolver,
		"dns.example.net:443":    fault.PolicyForeignResolver,
		"x.dns.example.net:443":  fault.PolicyForeignResolver,
		"api.example.com:443":    "",
		"api.example.com:80":     fault.PolicyPlainHTTP,
	} {
		if got := codeOf(table.refuse(Request{Door: event.DoorCONNECT, Target: name.Must(target)}, false)); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}
