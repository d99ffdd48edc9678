package interop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/cli"
	"watertight/demo/ordinary"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
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

// text gives an address as it stands in a URL.
func text(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// wantMetric fails the test unless the proxy's metrics have this line.
func wantMetric(t testing.TB, s *lab.Scene, line string) {
	t.Helper()
	page := lab.Admin(t, s, "/metrics")
	if slices.Contains(strings.Split(page, "\n"), line) {
		return
	}
	metric, _, _ := strings.Cut(line, "{")
	var near []string
	for l := range strings.SplitSeq(page, "\n") {
		if strings.HasPrefix(l, metric) && !strings.HasSuffix(l, " 0") {
			near = append(near, l)
		}
	}
	t.Errorf("the metrics do not say %s; they say:\n%s", line, strings.Join(near, "\n"))
}

// untrapped fails the test if something in the proxy reached for the host's resolver.
func untrapped(t testing.TB, s *lab.Scene) {
	t.Helper()
	wantMetric(t, s, "watertight_host_resolver_trapped_total 0")
}

// askers gives the addresses from which the canary was asked for, in a log.
func askers(log []internet.Asked, canary string) []netip.Addr {
	var all []netip.Addr
	for _, q := range log {
		if q.Name == canary && !slices.Contains(all, q.Client.Addr()) {
			all = append(all, q.Client.Addr())
		}
	}
	return all
}

// provider gives the addresses from which the provider's resolver asks the authority, as a host: it asks on behalf of
// every host that resolves as its operating system does.
func provider(s *lab.Scene) *internet.Host {
	h := &internet.Host{Name: "the provider's resolver"}
	for _, a := range s.Authority.Nameservers() {
		if a.Is4() {
			h.Addr4 = a
		} else {
			h.Addr6 = a
		}
	}
	return h
}

// reach runs curl once more by way of the proxy, to a name that is not the canary but is searched for all the same,
// and gives what it said.
func reach(t testing.TB, s *lab.Scene, label string) internet.Result {
	t.Helper()
	call := lab.Call{URL: fmt.Sprintf("https://%s-%s.%s/", label, s.Label, lab.Zone), Proxy: "http://" + lab.ProxyAddress, CAFile: s.CAFile}
	return lab.Run(t, lab.Curl.Program(s.Client, call))
}

// mustReach is reach for a call that must succeed.
func mustReach(t testing.TB, s *lab.Scene, label string) {
	t.Helper()
	if r := reach(t, s, label); r.Code != 0 {
		t.Errorf("the call to %s failed:\n%s", label, r.Text())
	}
}

// comesBack is how long a proxy may refuse to ask again after a server is back (RFC 9520, section 3.2: a failure is
// remembered), with room for a busy machine.
const comesBack = 20 * time.Second

// mustReachAgain is mustReach for the time after an outage: refusals are accepted for a while.
func mustReachAgain(t testing.TB, s *lab.Scene, label string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), comesBack)
	defer cancel()
	for {
		r := reach(t, s, label)
		if r.Code == 0 {
			return
		}
		if ctx.Err() != nil {
			t.Errorf("the call to %s still failed:\n%s", label, r.Text())
			return
		}
	}
}

// ada logs in to every hop that asks for it.
var ada = servers.Login{User: "ada", Password: "s3cret"}

// addrOf gives the address of a client that an embedded server wrote down.
func addrOf(a net.Addr) (netip.Addr, error) {
	at, err := netip.ParseAddrPort(a.String())
	return at.Addr().Unmap(), err
}
