package lab

import (
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
