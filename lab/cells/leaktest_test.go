package cells

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"watertight/dnswire"
	"watertight/gate"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/leaktest"
	"watertight/visit"
)

const canaryZone = "canary.example.org"

// onlooker is a scene with a canary, which a resolver finds that is told when to leak.
type onlooker struct {
	s        *lab.Scene
	canary   *internet.Host
	stranger *internet.Host                         // who has nothing to do with names
	leaks    atomic.Pointer[func(q *dnstest.Query)] // what goes wrong with a question, beside its way
}

// addOnlooker puts a canary on a host of its own.
func addOnlooker(t testing.TB, s *lab.Scene) *onlooker {
	t.Helper()
	o := &onlooker{s: s, canary: lab.Must(s.AddHost("canary"))(t), stranger: lab.Must(s.AddHost("stranger"))(t)}
	whose := map[netip.Prefix]visit.Network{}
	belong(whose, visit.Network{Number: 64500, Name: "resolver"}, s.Resolver.Addrs())
	belong(whose, visit.Network{Number: 64501, Name: "others"}, s.Client.Addrs(), s.Client.Nameservers(), o.canary.Nameservers(), o.stranger.Addrs())
	startCanary(t, s, o.canary, canaryZone, s.CA.Issue([]string{canaryZone, "*." + canaryZone}, nil), whose, false)
	s.Resolver.Handle(o.answer)
	return o
}

// answer is what the resolver of the channel says: what the canary does, but for what does not validate.
func (o *onlooker) answer(ctx context.Context, q *dnstest.Query) dnstest.Reply {
	_, branch, _, err := visit.Parse(q.Name, canaryZone)
	if leak := o.leaks.Load(); err == nil && leak != nil {
		(*leak)(q)
	}
	reply := o.s.Resolver.Recurse(ctx, q)
	if err == nil && branch == visit.Bogus {
		return q.Send(dnswire.Reply{RCode: dnswire.ServFail})
	}
	return reply
}

// doors are listeners of every kind, some of which ask who comes. The gateway leads to the canary.
func (o *onlooker) doors(t testing.TB) string {
	t.Helper()
	chain, key := dnstest.PEMPair(o.s.CA.Issue(nil, []netip.Addr{netip.MustParseAddr("127.0.0.1")}))
	line := lab.Must(gate.NewLine("alice", "s3cret"))(t)
	file := func(name string) string { return filepath.Join(o.s.Dir, name) }
	for name, b := range map[string][]byte{"door.pem": chain, "door.key": key, "users": []byte(line + "\n")} {
		lab.Must(0, os.WriteFile(file(name), b, 0o600))(t)
	}
	secure := fmt.Sprintf("cert: %q, key: %q", file("door.pem"), file("door.key"))
	certified := fmt.Sprintf("%s, client_ca: %q", secure, o.s.CAFile)
	return fmt.Sprintf(`listen:
  proxy: ["127.0.0.1:0", {address: "127.0.0.1:0", h3: true, tls: {%[1]s}, users: %[3]q}]
  dns: ["127.0.0.1:0", {address: "quic://127.0.0.1:0", tls: {%[2]s}}]
  gateway: {address: "127.0.0.1:0", tls: {%[2]s}}
gateway: [{hosts: ["*.%[4]s"], ca: %[5]q}]
`, secure, certified, file("users"), canaryZone, o.s.CAFile)
}

// tests runs the leak test on the client's host, and gives its report and its exit code.
func (o *onlooker) tests(t testing.TB, args ...string) (*leaktest.Report, int) {
	t.Helper()
	file := filepath.Join(o.s.Dir, "leaktest.yaml")
	text := strings.Replace(dot(o.s), "timeout: 5s", "timeout: 2s", 1) + o.doors(t) +
		fmt.Sprintf("leaktest: {every: 0s, on_change: false, canary: {zone: %s, api: \"https://%[1]s/api\", channel: direct, ca: %q}}\n", canaryZone, o.s.CAFile)
	lab.Must(0, os.WriteFile(file, []byte(text), 0o600))(t)
	result := lab.Run(t, lab.Self(o.s.Client, lab.WatertightRole, append([]string{"test", "-c", file, "--json"}, args...)...))
	var r leaktest.Report
	if err := json.Unmarshal([]byte(result.Stdout), &r); err != nil {
		t.Fatalf("no report: %v\n%s", err, result.Text())
	}
	return &r, result.Code
}

// TestLeakTest_TellsASealedProxyFromOneThatLeaks runs `watertight test` as a user does, with real packets: sealed, where nothing
// is wrong; and with a leak in the way of the names, found and named.
func TestLeakTest_TellsASealedProxyFromOneThatLeaks(t *testing.T) {
	t.Parallel()
	lab.Inside(t)
	s := lab.NewScene(t, internet.Dual)
	o := addOnlooker(t, s)
	packets := filepath.Join(s.Dir, "packets.pcapng")
	r, code := o.tests(t, "--pcap", packets)
	if b, err := os.ReadFile(packets); err != nil || !bytes.HasPrefix(b, []byte{0x0a, 0x0d, 0x0d, 0x0a}) || !bytes.Contains(b, []byte("uplink")) { // pcapng
		t.Errorf("%d octets of packets: %v", len(b), err)
	}
	if r.Verdict != leaktest.Sealed || code != 0 {
		t.Errorf("a sealed proxy: %s, exit code %d\n%s", r.Verdict, code, unsealed(r))
	}
	for _, id := range []string{"CONTROL", "NAME-BY-CHANNEL", "NAME-BY-DOOR", "DNS-DOOR", "NAME-BY-GATEWAY", "FAILING-NAME", "EXPIRED-NAME", "CUT-REFUSED", "CUT-SILENT", "PACKETS", "SOCKETS", "TRAP"} {
		if c, _ := r.Find(id); c.Verdict != leaktest.Sealed {
			t.Errorf("%s is %s: %s", id, c.Verdict, c.Reason)
		}
	}
	o.forgetfulIsSeen(t)

	for id, way := range map[string]string{"NAME-BY-DOOR": "by CONNECT over HTTP/3", "DNS-DOOR": "over QUIC", "PACKETS": "the canary was shown a name"} {
		if c, _ := r.Find(id); !strings.Contains(strings.Join(c.Evidence, "\n"), way) {
			t.Errorf("%s: nothing is said of what is %q\n%s", id, way, strings.Join(c.Evidence, "\n"))
		}
	}

	leaks := []struct {
		name, id, cause string
		only            []string
		leak            func(q *dnstest.Query)
	}{
		{"a second resolver is asked for what fails", "FAILING-NAME", "B1", []string{"FAILING-NAME"}, func(q *dnstest.Query) {
			if strings.Contains(q.Name, "-servfail.") {
				_, _ = o.stranger.Ask(o.canary.At(53), q.Raw)
			}
		}},
		{"the host asks in clear too", "PACKETS", "D5", []string{"NAME-BY-CHANNEL", "NAME-BY-GATEWAY", "PACKETS"}, func(q *dnstest.Query) {
			_, _ = s.Client.Ask(netip.AddrPortFrom(s.Client.Nameservers()[0], 53), q.Raw)
		}},
	}
	for _, l := range leaks {
		o.leaks.Store(&l.leak)
		r, code := o.tests(t, "--only", strings.Join(l.only, ","))
		c, _ := r.Find(l.id)
		if r.Verdict != leaktest.Leak || code != 3 || c.Verdict != leaktest.Leak || c.Cause != l.cause {
			t.Errorf("%s: %s, exit code %d, %s is %s by %s\n%s", l.name, r.Verdict, code, l.id, c.Verdict, c.Cause, unsealed(r))
		}
		for _, id := range l.only { // by whatever way a name comes
			if c, _ := r.Find(id); c.Verdict != leaktest.Leak {
				t.Errorf("%s: %s is %s", l.name, id, c.Verdict)
			}
		}
	}
}

// unsealed is what a report says about what is not sealed.
func unsealed(r *leaktest.Report) string {
	var b strings.Builder
	for _, c := range r.Cases {
		if c.Verdict != leaktest.Sealed {
			fmt.Fprintf(&b, "%s: %s: %s\n\t%s\n", c.ID, c.Verdict, c.Reason, strings.Join(slices.Clone(c.Evidence), "\n\t"))
		}
	}
	fmt.Fprintf(&b, "%s; %s\n", r.Environment.Control, r.Environment.Blind)
	return b.String()
}
