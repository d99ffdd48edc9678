package lab_test

import (
	"testing"

	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

func startWith(upstream func(*lab.Scene) string) func(testing.TB, *lab.Scene) string {
	return func(t testing.TB, s *lab.Scene) string {
		lab.StartWatertight(t, s, lab.DirectConfig(s, upstream(s)))
		return lab.ProxyAddress
	}
}

func viaDoT(s *lab.Scene) string { return s.Resolver.DoTURL() }
func viaDoH(s *lab.Scene) string { return s.Resolver.DoHURL() }

func TestSealed_EveryClientThroughTheChannelDirect(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		for _, client := range lab.Clients() {
			for _, scheme := range client.Schemes {
				t.Run(string(families)+"/"+client.Name+"/"+scheme, func(t *testing.T) {
					lab.Cell{Families: families, Client: client, Scheme: scheme, Start: startWith(viaDoH)}.Run(t)
				})
			}
		}
	}
}

func TestSealed_AResolverThatIsGoneMeansARefusalAndNothingElse(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		for name, upstream := range map[string]func(*lab.Scene) string{"dot": viaDoT, "doh": viaDoH} {
			t.Run(string(families)+"/"+name, func(t *testing.T) {
				lab.Cell{
					Families: families, Client: lab.Curl, Start: startWith(upstream), Refused: "RESOLVER_UNREACHABLE",
					Before: func(_ testing.TB, s *lab.Scene) {
						_ = s.Resolver.Close()
					},
				}.Run(t)
			})
		}
	}
}

func TestSealed_AFailureOfTheResolverIsFinal(t *testing.T) {
	lab.Cell{
		Families: internet.Dual, Client: lab.Curl, Start: startWith(viaDoT), Refused: "DNS_SERVFAIL",
		Before: func(_ testing.TB, s *lab.Scene) { s.Resolver.Handle(dnstest.RCode(2)) },
	}.Run(t)
}
