package route

import (
	"net/netip"
	"testing"

	"watertight/channel"
	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

func TestThePolicyHoldsForTheServerThatRecordsLeadTo(t *testing.T) {
	every, err := ParsePattern("*")
	if err != nil {
		t.Fatal(err)
	}
	through := new(channel.Channel)
	policy := Sealed()
	policy.ResolverNames = []string{"dns.example"}
	table, err := New(Spec{Rules: []Rule{{To: []Pattern{every}, Channel: through}}, Policy: policy, Sink: event.Discard{}, Own: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:8080")}})
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Door: event.DoorGateway, Target: name.Must("api.example.com:443")}
	for at, want := range map[string]fault.Code{
		"cdn.example.net:53":  fault.PolicyForeignResolver,
		"cdn.example.net:853": fault.PolicyForeignResolver,
		"cdn.example.net:80":  fault.PolicyPlainHTTP,
		"x.dns.example:443":   fault.PolicyForeignResolver,
		"10.0.0.7:443":        fault.PolicyPrivateTarget,
		"192.0.2.1:8080":      fault.PolicyPrivateTarget,
	} {
		for _, c := range []*channel.Channel{nil, through} {
			if _, err := table.DialServiceIn(t.Context(), c, r, name.Must(at)); fault.Of(err).Code != want || fault.Of(err).Target != r.Target.String() {
				t.Errorf("%s: %v", at, err)
			}
			if _, err := table.DialServicePacketIn(t.Context(), c, r, name.Must(at)); fault.Of(err).Code != want {
				t.Errorf("datagrams to %s: %v", at, err)
			}
		}
	}
	r.Target = name.Must("x.dns.example:443") // the target's own refusal is not gone round by a record
	if _, err := table.DialServiceIn(t.Context(), nil, r, name.Must("cdn.example.net:443")); fault.Of(err).Code != fault.PolicyForeignResolver {
		t.Error(err)
	}
	if table.CarriesPacketsIn(nil, r) || table.CarriesPacketsIn(through, r) {
		t.Error("a channel without datagrams is said to carry them")
	}
}
