package cells

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"watertight/config"
	"watertight/control"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/leaktest/history"
)

// regularly runs a proxy that tests itself, with more in the section.
func regularly(t testing.TB, s *lab.Scene, more string) *internet.Process {
	t.Helper()
	return lab.StartWatertight(t, s, strings.Replace(dot(s), "timeout: 5s", "timeout: 2s", 1)+
		fmt.Sprintf("state: %q\nleaktest: {every: 0s%s}\n", filepath.Join(s.Dir, "state"), more))
}

// watertight runs the program beside the one that serves, with its configuration.
func watertight(t testing.TB, s *lab.Scene, args ...string) internet.Result {
	t.Helper()
	return lab.Run(t, lab.Self(s.Client, lab.WatertightRole, append(args, "-c", filepath.Join(s.Dir, "watertight.yaml"))...))
}

// outcomeFor waits for the nth test, and wants it to have been made for a reason. The history is read from its file: the control socket
// of a program is not seen by another of the lab.
func outcomeFor(t testing.TB, s *lab.Scene, n int64, cause string) control.Outcome {
	t.Helper()
	kept, err := history.New(filepath.Join(s.Dir, "state", history.File), config.DefaultTestKeep, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(90 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		// The program is asked once there is something to tell: to start it all the time would slow down what is waited for.
		if runs, err := kept.Read(t.Context(), history.Filter{Last: 1}); (err != nil || len(runs) == 0 || runs[0].ID < n) && time.Now().Before(until) {
			continue
		}
		r := watertight(t, s, "test", "history", "--json", "--last", "1")
		var all struct{ Outcomes []control.Outcome }
		if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil {
			t.Fatalf("no history: %v\n%s", err, r.Text())
		}
		if len(all.Outcomes) > 0 && all.Outcomes[0].ID >= n {
			if o := all.Outcomes[0]; o.ID != n || o.Cause != cause {
				t.Errorf("the test after %d others was to be made for %q: %+v", n-1, cause, o)
			}
			return all.Outcomes[0]
		}
		if time.Now().After(until) {
			t.Fatalf("no test was made for %q: %s", cause, r.Stdout)
		}
	}
}

// TestLeakTest_IsMadeWhenSomethingChanges lets what is around a running proxy change, for each kind of change on an internet of its
// own. The control: until then there is the test of the start, and no other.
func TestLeakTest_IsMadeWhenSomethingChanges(t *testing.T) {
	lab.Inside(t)
	for name, change := range map[string]struct {
		cause string
		do    func(t testing.TB, s *lab.Scene, p *internet.Process)
	}{
		"an address comes": {"network", func(t testing.TB, s *lab.Scene, _ *internet.Process) {
			lab.Must(0, addAddress(s.Client, 77))(t)
		}},
		"a route comes": {"network", func(t testing.TB, s *lab.Scene, _ *internet.Process) {
			lab.Must(0, s.Client.Do(func() error {
				link, err := netlink.LinkByName("uplink")
				if err != nil {
					return err
				}
				to, err := netlink.ParseIPNet("203.0.113.128/25")
				if err != nil {
					return err
				}
				return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: to})
			}))(t)
		}},
		"resolv.conf is rewritten": {"resolver", func(t testing.TB, _ *lab.Scene, p *internet.Process) {
			lab.Must(0, os.WriteFile(fmt.Sprintf("/proc/%d/root/etc/resolv.conf", p.PID()), []byte("nameserver 192.0.2.99\n"), 0o644))(t)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lab.NewScene(t, internet.Dual)
			p := regularly(t, s, "")
			outcomeFor(t, s, 1, "start")
			change.do(t, s, p)
			outcomeFor(t, s, 2, change.cause)
		})
	}
}

// TestLeakTest_ALeakClosesTheRunningProxyUntilATestIsClean has a proxy find a leak in the way of its names: a question of its
// resolver is repeated in clear by the host.
func TestLeakTest_ALeakClosesTheRunningProxyUntilATestIsClean(t *testing.T) {
	t.Parallel()
	lab.Inside(t)
	s := lab.NewScene(t, internet.Dual)
	o := addOnlooker(t, s)
	leak := func(q *dnstest.Query) {
		_, _ = s.Client.Ask(netip.AddrPortFrom(s.Client.Nameservers()[0], 53), q.Raw)
	}
	section := fmt.Sprintf(", on_leak: close, canary: {zone: %s, api: \"https://%[1]s/api\", channel: direct, ca: %q}", canaryZone, s.CAFile)
	p := regularly(t, s, section)
	served(t, s, s.Canary)
	o.leaks.Store(&leak)
	if first := outcomeFor(t, s, 1, "start"); first.Verdict != "leak" {
		t.Fatalf("%+v\n%s", first, p.Sofar().Text())
	}
	refused := func() {
		t.Helper()
		if r := call(t, s, s.Canary); r.Code == 0 || !strings.Contains(r.Text(), "closed: the leak test of ") || !strings.Contains(r.Text(), "(NOT_READY)") {
			t.Errorf("it is served: %s", r.Text())
		}
	}
	refused()
	_ = p.Signal(os.Interrupt)
	p.Wait()

	none := func(*dnstest.Query) {}
	o.leaks.Store(&none)
	p = regularly(t, s, section)
	refused() // after a restart
	if second := outcomeFor(t, s, 2, "start"); second.Verdict != "sealed" {
		t.Fatalf("%+v\n%s", second, p.Sofar().Text())
	}
	served(t, s, s.Canary)
}
