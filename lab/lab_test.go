package lab_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"watertight/capture"
	"watertight/cli"
	"watertight/demo/ordinary"
	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/wire"
)

func TestMain(m *testing.M) {
	lab.Main(m,
		lab.Role{Name: lab.OrdinaryRole, Run: ordinary.Main},
		lab.Role{Name: lab.WatertightRole, Run: func(args []string) int {
			wire.Seal()
			return cli.Main(args, os.Stdin, os.Stdout, os.Stderr)
		}})
}

func caFile(t *testing.T, in *internet.Internet) string {
	t.Helper()
	path := filepath.Join(in.Dir, "ca.pem")
	if err := os.WriteFile(path, in.CA.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLab_AnOrdinaryClientIsServedAndReadByTheProvider(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		for _, client := range lab.Clients() {
			t.Run(string(families)+"/"+client.Name, func(t *testing.T) {
				client.Require(t)
				in := lab.New(t, families)
				origin := lab.Must(in.AddOrigin("origin", "*.probe.example.net"))(t)
				const host = "k7q2.probe.example.net"

				result := lab.Run(t, client.Program(in.Client, lab.Call{URL: "https://" + host + "/", CAFile: caFile(t, in)}))
				if result.Err != nil || result.Code != 0 && !client.Rough {
					t.Fatalf("the client was not served: %v, exit code %d\n%s", result.Err, result.Code, result.Text())
				}
				visits := origin.Visits()
				if len(visits) == 0 || visits[0].Host != host || !in.Client.Has(visits[0].Client.Addr()) {
					t.Errorf("the origin saw %v\n%s", visits, result.Text())
				}
				if !slices.ContainsFunc(in.ISP.LogOf(in.Client), func(a internet.Asked) bool { return a.Name == host }) {
					t.Errorf("the provider's resolver was not asked for the name: %v", in.ISP.Log())
				}
				packets, err := in.Packets()
				if err != nil {
					t.Fatal(err)
				}
				seen := map[string]bool{}
				for _, hit := range capture.Search(packets, host) {
					seen[hit.Packet.Point] = true
				}
				if !seen["client"] || !seen["isp"] {
					t.Errorf("the name was not found in the packets of both ends: %v, of %d packets", seen, len(packets))
				}
			})
		}
	}
}

func TestLab_APlaintextQuestionToAnyAddressIsAnsweredAndWrittenDown(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			in := lab.New(t, families)
			lab.Must(in.AddOrigin("origin", "api.example.net"))(t)
			for _, server := range []string{"8.8.8.8", "203.0.113.99", "2001:4860:4860::8888", "2620:fe::fe"} {
				at := netip.MustParseAddr(server)
				if at.Is4() && families == internet.V6 || at.Is6() && families == internet.V4 {
					continue
				}
				before := len(in.ISP.Log())
				reply, err := in.Client.Ask(netip.AddrPortFrom(at, 53), query(t, "api.example.net"))
				if err != nil {
					t.Errorf("%s: %v", server, err)
					continue
				}
				if len(reply) < 12 || reply[3]&15 != 0 {
					t.Errorf("%s: not an answer: %x", server, reply)
				}
				log := in.ISP.Log()[before:]
				if len(log) == 0 {
					t.Errorf("%s: the provider wrote down nothing", server)
				}
				for _, q := range log { // one, unless its answer was slow: then it was asked again
					if q.Server.Addr() != at || q.Name != "api.example.net" || !in.Client.Has(q.Client.Addr()) {
						t.Errorf("%s: the provider wrote down %v", server, log)
					}
				}
			}
		})
	}
}

func query(t testing.TB, host string) []byte {
	t.Helper()
	b, err := dnswire.Query(dnswire.Question{Name: host, Type: dnswire.A}, 4711, 0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
