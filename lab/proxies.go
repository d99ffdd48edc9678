package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// StartOrdinaryProxy starts a proxy on a host that resolves names as the host does, which is the leak that everything
// here must catch, and gives its address. It needs the role [OrdinaryRole].
func StartOrdinaryProxy(t testing.TB, h *internet.Host) (address string) {
	t.Helper()
	const ready = "listening on "
	process := Must(Self(h, OrdinaryRole, "proxy", "127.0.0.1:0").Start(t.Context()))(t)
	result := Must(process.AwaitOutput(t.Context(), "\n"))(t)
	_, address, ok := strings.Cut(strings.TrimSpace(result.Stdout), ready)
	if !ok {
		t.Fatalf("the ordinary proxy said: %s", result.Text())
	}
	return address
}

// WatertightRole is the role that must be given to [Main] for [StartWatertight]: the program itself, from its command
// line on.
const WatertightRole = "watertight"

// ProxyAddress is where [StartWatertight] lets the proxy listen, and AdminAddress where it tells of itself.
const (
	ProxyAddress = "127.0.0.1:8080"
	AdminAddress = "127.0.0.1:9053"
)

// StartWatertight runs the program on the scene's client, with a configuration that begins with where to listen and
// goes on with what is given, and waits until it says that it is ready. It ends, in order, when the evidence is
// gathered.
func StartWatertight(t testing.TB, s *Scene, config string) *internet.Process {
	t.Helper()
	p := LaunchWatertight(t, s, config)
	Must(p.AwaitOutput(t.Context(), "ready:"))(t)
	return p
}

// LaunchWatertight is StartWatertight for a proxy that is not expected to be ready soon: it waits until the proxy
// listens, and no longer.
func LaunchWatertight(t testing.TB, s *Scene, config string) *internet.Process {
	t.Helper()
	path := filepath.Join(s.Dir, "watertight.yaml")
	config = fmt.Sprintf("listen:\n  proxy: %s\n  admin: %s\n%s", ProxyAddress, AdminAddress, config)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := Must(Self(s.Client, WatertightRole, "run", "-c", path).Start(t.Context()))(t)
	Must(p.AwaitOutput(t.Context(), "listening on"))(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("watertight wrote:\n%s", p.Sofar().Text())
		}
	})
	return p
}

// DirectConfig is a configuration with the channel direct alone and these upstreams for it, each a URL; all are
// trusted by way of the scene's authority.
func DirectConfig(s *Scene, upstreams ...string) string {
	var b strings.Builder
	b.WriteString("channels:\n  direct:\n    resolver:\n      upstreams:\n")
	for _, u := range upstreams {
		fmt.Fprintf(&b, "        - {url: %q, ca: %q}\n", u, s.CAFile)
	}
	return b.String()
}
