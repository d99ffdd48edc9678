package cells

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/leaktest"
	"watertight/visit"
)

const canaryZone = "canary.example.org"

// onlooker is a canary whose names the authority of the internet answers for, and that tells what the authority has seen.
type onlooker struct {
	s     *lab.Scene
	leaks atomic.Pointer[func(q *dnstest.Query)] // what goes wrong with a question, beside its way
}

// addOnlooker puts a canary on a host of its own.
func addOnlooker(t testing.TB, s *lab.Scene) *onlooker {
	t.Helper()
	o := &onlooker{s: s}
	host := lab.Must(s.AddHost("canary"))(t)
	for _, name := range []string{canaryZone, "*." + canaryZone} {
		lab.Must(0, s.Authority.Publish(name, host))(t)
	}
	l := lab.Must(host.Listen(443))(t)
	server := &http.Server{Handler: o, TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.CA.IssueLeaf(dnstest.Leaf{Names: []string{canaryZone}})}}}
	go func() { _ = server.ServeTLS(l, "", "") }()
	s.Cleanup(func() { _ = server.Close() })
	s.Resolver.Handle(o.answer)
	return o
}

// answer is what the resolver of the channel says: the truth, but for names that fail on purpose.
func (o *onlooker) answer(ctx context.Context, q *dnstest.Query) dnstest.Reply {
	if q.Name == visit.Whoami+"."+canaryZone {
		var list []dnswire.Record
		for _, a := range o.s.Resolver.Addrs() {
			if r := dnswire.AddrRecord(q.Name, 1, a); r.Type == q.Type {
				list = append(list, r)
			}
		}
		return q.Send(dnswire.Reply{Answer: list})
	}
	reply := o.s.Resolver.Recurse(ctx, q)
	_, branch, _, err := visit.Parse(q.Name, canaryZone)
	if err != nil {
		return reply
	}
	if leak := o.leaks.Load(); leak != nil {
		(*leak)(q)
	}
	switch branch {
	case visit.Servfail, visit.Refused, visit.Bogus:
		return q.Send(dnswire.Reply{RCode: dnswire.ServFail})
	case visit.Nxdomain:
		return q.Send(dnswire.Reply{RCode: dnswire.NXDomain})
	case visit.Silent:
		<-ctx.Done()
	}
	return reply
}

// ServeHTTP is the canary's API.
func (o *onlooker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch label, of := strings.CutPrefix(r.URL.Path, visit.PathLabel); {
	case of:
		seen := visit.Seen{Label: label}
		for _, a := range o.s.Authority.LogOf(canaryZone) {
			if l, _, _, err := visit.Parse(a.Name, canaryZone); err == nil && l == label {
				seen.Queries = append(seen.Queries, visit.Query{At: a.Time, From: a.Client, Over: string(a.Proto), Name: a.Name, Type: a.Type, Network: o.network(a.Client.Addr())})
			}
		}
		_ = json.NewEncoder(w).Encode(seen)
	case r.URL.Path == visit.PathZone:
		_ = json.NewEncoder(w).Encode(visit.Zone{Zone: canaryZone})
	case r.URL.Path == visit.PathWhoami:
		at := netip.MustParseAddrPort(r.RemoteAddr).Addr()
		_ = json.NewEncoder(w).Encode(visit.Whoever{Address: at, Network: o.network(at)})
	}
}

// network tells the channel's resolver from everybody else.
func (o *onlooker) network(a netip.Addr) *visit.Network {
	if o.s.Resolver.Has(a.Unmap()) {
		return &visit.Network{Number: 64500, Name: "resolver"}
	}
	return &visit.Network{Number: 64501, Name: "others"}
}

// tests runs the leak test on the client's host, and gives its report and its exit code.
func (o *onlooker) tests(t testing.TB, args ...string) (*leaktest.Report, int) {
	t.Helper()
	file := filepath.Join(o.s.Dir, "leaktest.yaml")
	text := strings.Replace(dot(o.s), "timeout: 5s", "timeout: 2s", 1) + "listen: {proxy: 127.0.0.1:0, dns: 127.0.0.1:0}\n" +
		fmt.Sprintf("leaktest: {every: 0s, on_change: false, canary: {zone: %s, api: \"https://%[1]s\", channel: direct, ca: %q}}\n", canaryZone, o.s.CAFile)
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
	lab.Inside(t)
	s := lab.NewScene(t, internet.Dual)
	o := addOnlooker(t, s)
	r, code := o.tests(t)
	if r.Verdict != leaktest.Sealed || code != 0 {
		t.Errorf("a sealed proxy: %s, exit code %d\n%s", r.Verdict, code, unsealed(r))
	}
	for _, id := range []string{"CONTROL", "NAME-BY-CHANNEL", "NAME-BY-DOOR", "DNS-DOOR", "FAILING-NAME", "EXPIRED-NAME", "CUT-REFUSED", "CUT-SILENT", "PACKETS", "SOCKETS", "TRAP"} {
		if c, _ := r.Find(id); c.Verdict != leaktest.Sealed {
			t.Errorf("%s is %s: %s", id, c.Verdict, c.Reason)
		}
	}

	stranger := lab.Must(s.AddHost("stranger"))(t)
	leaks := []struct {
		name, id, cause string
		only            []string
		leak            func(q *dnstest.Query)
	}{
		{"a second resolver is asked for what fails", "FAILING-NAME", "B1", []string{"FAILING-NAME"}, func(q *dnstest.Query) {
			if strings.Contains(q.Name, "-servfail.") {
				_, _ = stranger.Ask(s.Authority.At(53), q.Raw)
			}
		}},
		{"the host asks in clear too", "PACKETS", "D5", []string{"NAME-BY-CHANNEL", "PACKETS"}, func(q *dnstest.Query) {
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
