package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/config"
	"watertight/name"
)

// tunnelConfig is a file whose traffic takes a tunnel, over `direct`, with a resolver inside it.
func tunnelConfig(t *testing.T, keys, upstream string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"vpn.key": "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n",
		"watertight.yaml": `
channels:
  direct: {resolver: {upstreams: [tls://9.9.9.9]}}
  vpn:
    wireguard: {private_key_file: vpn.key, address: 10.2.0.2, ` + keys + `peers: [{public_key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", endpoint: "vpn.provider.net:51820", allowed_ips: 0.0.0.0/0}]}
    resolver: {upstreams: [` + upstream + `]}
routes: [{to: "*", channel: vpn}]
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(dir, "watertight.yaml"), config.Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestExplain_TellsWhatAPeerOfATunnelSees(t *testing.T) {
	const peer = "wireguard://vpn.provider.net:51820"
	for what, k := range map[string]struct {
		keys, upstream string
		learns         []string // how the peer learns the name
	}{
		"an encrypted resolver":       {"", "tls://185.11.0.53", []string{inSNI}},
		"plain DNS inside the tunnel": {"dns_over_tunnel: true, ", "udp://10.2.0.1", []string{inSNI, inQuestion}},
	} {
		e, err := Explain(tunnelConfig(t, k.keys, k.upstream), name.Must("api.example.com:443"), false)
		if err != nil {
			t.Fatal(err)
		}
		if e.Verdict != "carried" || !slices.Equal(e.Hops, []string{peer}) || !slices.Equal(e.Over, []string{"direct"}) {
			t.Errorf("%s: got %+v", what, e)
		}
		if len(e.HopNames) != 1 || e.HopNames[0].Name != "vpn.provider.net" || e.HopNames[0].Kind != "endpoint" || e.HopNames[0].Channel != "direct" {
			t.Errorf("%s: the names on the way are %+v", what, e.HopNames)
		}
		network, hop := e.sight(t, placeNetwork, "your network"), e.sight(t, placeHop, peer)
		if len(network.TargetName) > 0 || network.TargetAddress || network.Content || !slices.Equal(network.To, []string{"vpn.provider.net:51820", "9.9.9.9"}) {
			t.Errorf("%s: the network sees %+v", what, network)
		}
		if !slices.Equal(hop.TargetName, k.learns) || !hop.YourAddress || !hop.TargetAddress || hop.Content {
			t.Errorf("%s: the peer sees %+v", what, hop)
		}
		end := e.sight(t, placeDestination, "api.example.com")
		if end.YourAddress || end.From != "vpn.provider.net:51820" {
			t.Errorf("%s: the destination sees %+v", what, end)
		}
		told := slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, "in clear text inside the tunnel") })
		if told != (k.keys != "") {
			t.Errorf("%s: the notes are %q", what, e.Notes)
		}
	}
}
