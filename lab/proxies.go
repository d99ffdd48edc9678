package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

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

// StartWatertight runs the program on the scene's client, with a configuration that begins with where to listen, unless
// what is given says so, and goes on with what is given, and waits until it says that it is ready. It ends, in order, when the evidence is
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
	if !strings.HasPrefix(config, "listen:") {
		config = fmt.Sprintf("listen:\n  proxy: %s\n  admin: %s\n%s", ProxyAddress, AdminAddress, config)
	}
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.AwaitLink(t.Context()); err != nil {
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

// Admin reads a page of the proxy's admin port.
func Admin(t testing.TB, s *Scene, path string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		Proxy:             nil,
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.Client.Dial(ctx, netip.MustParseAddrPort(AdminAddress))
		},
	}}
	response := Must(client.Get("http://" + AdminAddress + path))(t)
	defer response.Body.Close()
	return string(Must(io.ReadAll(response.Body))(t))
}

// settleLimit is how long look-ups may take that a call left behind.
const settleLimit = 20 * time.Second

var (
	endedLookups = regexp.MustCompile(`(?m)^watertight_lookup_duration_seconds_count\{.*\} ([0-9]+)$`)
	sentLookups  = regexp.MustCompile(`"queries": *([0-9]+)`)
)

// Settle waits until every question that the proxy sent to its resolvers has its reply. A call that was served leaves
// one behind where the other family's answer came first; a resolver that is taken away under it is remembered as
// unreachable for a second, whatever stands in its place by then.
func Settle(t testing.TB, s *Scene) {
	t.Helper()
	for limit := time.After(settleLimit); ; {
		sent, ended := questions(t, s)
		if sent > 0 && ended == sent {
			return
		}
		select {
		case <-limit:
			t.Fatalf("of %d questions to resolvers %d have ended", sent, ended)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// questions says how many the proxy has sent to its resolvers, and how many of those have ended.
func questions(t testing.TB, s *Scene) (sent, ended int) {
	t.Helper()
	ended = total(endedLookups, Admin(t, s, "/metrics")) // read first: of those that were sent
	return total(sentLookups, Admin(t, s, "/status")), ended
}

// total adds up the numbers that a pattern finds.
func total(pattern *regexp.Regexp, text string) int {
	sum := 0
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		sum += n
	}
	return sum
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
