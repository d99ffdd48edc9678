package cells

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"watertight/control"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/leaktest"
)

// asksItself has the running proxy try cases, by its control socket, which lies in a file system of its own.
func asksItself(t *testing.T, p *internet.Process, only ...string) *leaktest.Report {
	t.Helper()
	sockets, err := filepath.Glob(fmt.Sprintf("/proc/%d/root/run/watertight/*.sock", p.PID()))
	if err != nil || len(sockets) != 1 {
		t.Fatal(sockets, err)
	}
	r, err := control.RunTest(t.Context(), sockets[0], control.Test{Only: only})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestHandedOver_TheLeakTestSeesWhetherTheRulesOfTheFirewallStand runs the leak test of a proxy to which the documentation's rules hand
// over what programs send: with all of them, and with some that miss IPv6.
func TestHandedOver_TheLeakTestSeesWhetherTheRulesOfTheFirewallStand(t *testing.T) {
	lab.Inside(t)
	lab.Need(t, "nft", "ip")
	carried := "IPv4: it is handed over, and the canary answered"
	for mode, one := range map[string]struct {
		rule, instead string
		cause         string // empty: it is sealed
		says          []string
	}{
		"redirect": {
			"meta l4proto tcp redirect to :8081", "meta nfproto ipv4 meta l4proto tcp redirect to :8081", "D9",
			[]string{"IPv6: it went to the canary at", carried, "IPv6: the DNS door has it", "IPv4: it is turned away"},
		},
		"tproxy": {says: []string{"IPv6: it is handed over, and the canary answered", carried, "a datagram of a program of this host, IPv6: it is handed over", "refused with POLICY_CLIENT_RESOLVED"}},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := lab.NewScene(t, internet.Dual)
			addOnlooker(t, s)
			listen := "  dns: [127.0.0.1:5353, \"[::1]:5353\"]\n  transparent:\n"
			for _, at := range []string{"127.0.0.1", "[::1]"} {
				listen += fmt.Sprintf("    - {address: %q, mode: %s, udp: %v, mark: %d}\n", at+":8081", mode, mode == "tproxy", ownMark)
			}
			p := lab.StartWatertight(t, s, fmt.Sprintf("listen:\n  proxy: %s\n%s%spolicy: {client_resolved: refuse}\n", lab.ProxyAddress, listen, dot(s))+
				fmt.Sprintf("leaktest: {every: 0s, on_change: false, canary: {zone: %s, api: \"https://%[1]s/api\", channel: direct, ca: %q}}\n", canaryZone, s.CAFile))
			arm(t, s, mode, strings.Replace(firewalls(t)[mode], one.rule, one.instead, 1))
			r := asksItself(t, p, "HANDED-OVER", "PACKETS", "SOCKETS")
			sealed(t, r, "PACKETS", "SOCKETS")
			c, _ := r.Find("HANDED-OVER")
			if want := map[bool]leaktest.Verdict{true: leaktest.Leak, false: leaktest.Sealed}[one.cause != ""]; c.Verdict != want || one.cause != "" && c.Cause != one.cause {
				t.Errorf("it is %s by %s, and not %s by %q: %s\n%s", c.Verdict, c.Cause, want, one.cause, c.Reason, strings.Join(c.Evidence, "\n"))
			}
			for _, want := range one.says {
				if !strings.Contains(strings.Join(c.Evidence, "\n"), want) {
					t.Errorf("nothing says %q:\n%s", want, strings.Join(c.Evidence, "\n"))
				}
			}
		})
	}
}

// sealed wants cases to be.
func sealed(t *testing.T, r *leaktest.Report, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if c, _ := r.Find(id); c.Verdict != leaktest.Sealed {
			t.Errorf("%s is %s: %s\n%s", id, c.Verdict, c.Reason, strings.Join(c.Evidence, "\n"))
		}
	}
}
