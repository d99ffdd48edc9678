package daemon

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"watertight/control"
	"watertight/dnswire"
	"watertight/lab/dnstest"
	"watertight/leaktest"
	"watertight/visit"
)

const canaryZone = "canary.example.com"

// miniCanary answers for names of visits through the test's resolver, and tells what that was asked.
type miniCanary struct {
	l        *live
	resolver netip.Addr  // that it is asked from
	leaks    atomic.Bool // a second resolver asks after the first
}

// answer is what the resolver says.
func (c *miniCanary) answer(ctx context.Context, q *dnstest.Query) dnstest.Reply {
	zone := dnstest.Zone{q.Name + ". 1 A 127.0.0.1"}
	if q.Name == visit.Whoami+"."+canaryZone {
		zone = dnstest.Zone{q.Name + ". 1 A " + c.resolver.String()}
	}
	return zone.Handler()(ctx, q)
}

// ServeHTTP is its API.
func (c *miniCanary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api")
	switch label, of := strings.CutPrefix(path, visit.PathLabel); {
	case of:
		_ = json.NewEncoder(w).Encode(c.seen(label))
	case path == visit.PathZone:
		_ = json.NewEncoder(w).Encode(visit.Zone{Zone: canaryZone})
	case path == visit.PathWhoami:
		_ = json.NewEncoder(w).Encode(visit.Whoever{Address: netip.MustParseAddrPort(r.RemoteAddr).Addr()})
	}
}

func (c *miniCanary) seen(label string) visit.Seen {
	s := visit.Seen{Label: label}
	for _, q := range c.l.dns.Log() {
		if of, _, _, err := visit.Parse(q.Name, canaryZone); err != nil || of != label {
			continue
		}
		from := []netip.Addr{c.resolver}
		if c.leaks.Load() {
			from = append(from, netip.MustParseAddr("203.0.113.99"))
		}
		for _, a := range from {
			s.Queries = append(s.Queries, visit.Query{From: netip.AddrPortFrom(a, 53), Over: "udp", Name: q.Name, Type: q.Type.String()})
		}
	}
	return s
}

// liveCanary is a daemon that has such a canary, and every door that can be tried.
func liveCanary(t *testing.T, more string) (*live, *miniCanary) {
	t.Helper()
	c := &miniCanary{resolver: netip.MustParseAddr("198.18.7.53")}
	socket, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: c, TLSConfig: &tls.Config{Certificates: []tls.Certificate{authority.CA.Issue([]string{canaryZone, "*." + canaryZone}, nil)}}}
	go func() { _ = server.ServeTLS(socket, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	_, port, _ := net.SplitHostPort(socket.Addr().String())
	listen := `{proxy: "127.0.0.1:0", dns: "127.0.0.1:0", gateway: "127.0.0.1:0"}`
	if strings.HasPrefix(more, "# proven\n") {
		listen = provenDoors(t)
	}
	c.l = newLive(t, more+fmt.Sprintf(`
listen: `+listen+`
gateway: [{path: /a/, to: "https://origin.example.com/", channel: direct}, {hosts: ["*.%[1]s"], ca: %[3]q}]
leaktest: {every: 0s, on_change: false, canary: {zone: %[1]s, api: "https://%[1]s:%[2]s/api", channel: direct, ca: %[3]q}}
`, canaryZone, port, caFile))
	c.l.dns.Handle(c.answer)
	return c.l.start().awaitReady(), c
}

// tries runs cases, and gives the report.
func (l *live) tries(only ...string) *leaktest.Report {
	l.t.Helper()
	r, err := l.d.LeakTest(l.t.Context(), TestRequest{Only: only})
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

var throughDoors = []string{"NAME-BY-CHANNEL", "NAME-BY-DOOR", "DNS-DOOR", "GATEWAY-CLOSED", "NAME-BY-GATEWAY", "HTTPS-RECORD"}

func TestLeakTest_TheProgramIsSealedByEveryDoor(t *testing.T) {
	t.Parallel()
	l, c := liveCanary(t, "")
	for _, one := range l.tries(throughDoors...).Cases {
		if one.Verdict != leaktest.Sealed {
			t.Errorf("%s is %s: %s\n%s", one.ID, one.Verdict, one.Reason, strings.Join(one.Evidence, "\n"))
		}
	}
	c.leaks.Store(true)
	for _, one := range l.tries(throughDoors...).Cases {
		if want := one.ID != "GATEWAY-CLOSED"; (one.Verdict == leaktest.Leak) != want {
			t.Errorf("a second resolver asks: %s is %s: %s\n%s", one.ID, one.Verdict, one.Reason, strings.Join(one.Evidence, "\n"))
		}
	}
}

// TestLeakTest_UsersOfAChannelDoNotNoticeThatItIsTested: it is cut off in copies, and what a test asks for on purpose is not counted
// as a client's request, by which `doctor` would take clients for leaky.
func TestLeakTest_UsersOfAChannelDoNotNoticeThatItIsTested(t *testing.T) {
	t.Parallel()
	l, _ := liveCanary(t, "")
	tunnel := l.tunnel(l.at.Proxy[0])
	before := l.dns.Live()
	counted := l.d.metrics.Totals().Requests
	for _, one := range l.tries("CUT-REFUSED", "CUT-SILENT", "PLAIN-DNS", "FOREIGN-RESOLVER", "SPECIAL-NAME", "EXEC-LITERAL").Cases {
		if one.ID != "EXEC-LITERAL" && one.Verdict != leaktest.Sealed {
			t.Errorf("%s is %s: %s\n%s", one.ID, one.Verdict, one.Reason, strings.Join(one.Evidence, "\n"))
		}
	}
	tunnel.carries(t)
	if ready, why := l.d.Ready(); !ready {
		t.Errorf("a channel is not ready any more: %v", why)
	}
	if n := l.d.metrics.Totals(); n.Requests != counted || len(n.ClientResolved) != 0 {
		t.Errorf("%d requests are counted, of %d before the test: refused %v, client-resolved %v", n.Requests, counted, n.Refused, n.ClientResolved)
	}
	if n := l.dns.Live(); n != before {
		t.Errorf("the resolver has %d connections, and had %d", n, before)
	}
}

// TestLeakTest_TheWindowsInTimeAreTriedInCopies: before a channel is ready, after a reload, in another network, and after a moment
// without one.
func TestLeakTest_TheWindowsInTimeAreTriedInCopies(t *testing.T) {
	t.Parallel()
	l, c := liveCanary(t, "")
	windows := []string{"NOT-READY", "RETIRED", "NETWORK-CHANGED", "CONNECTED-AGAIN"}
	for _, one := range l.tries(windows...).Cases {
		if one.Verdict != leaktest.Sealed || !one.Needed {
			t.Errorf("%s is %s: %s\n%s", one.ID, one.Verdict, one.Reason, strings.Join(one.Evidence, "\n"))
		}
	}
	c.leaks.Store(true)
	for _, one := range l.tries(windows[2:]...).Cases {
		if one.Verdict != leaktest.Leak || one.Cause != map[string]string{windows[2]: "C3", windows[3]: "C4"}[one.ID] {
			t.Errorf("a second resolver asks: %s is %s by %s\n%s", one.ID, one.Verdict, one.Cause, strings.Join(one.Evidence, "\n"))
		}
	}
}

// TestLeakTest_ALiteralIsRefusedWhereThePolicySaysSo, and it is not tried otherwise, since it would be carried.
func TestLeakTest_ALiteralIsRefusedWhereThePolicySaysSo(t *testing.T) {
	l, _ := liveCanary(t, "")
	if c, _ := l.tries("CLIENT-RESOLVED").Find("CLIENT-RESOLVED"); c.Verdict != leaktest.Skipped {
		t.Errorf("it is %s", c.Verdict)
	}
}

// TestLeakTest_AChannelWhoseResolverDiesGivesItsHopsNoName, nor does it ask anybody else.
func TestLeakTest_AChannelWhoseResolverDiesGivesItsHopsNoName(t *testing.T) {
	l, _ := liveCanary(t, "")
	c, err := subject{l.d, true, nil}.CopyForResolver(t.Context(), "direct")
	if err != nil || c.Ready() != nil {
		t.Fatal(err, c.Ready())
	}
	defer c.Close()
	c.Cut(false)
	_, _, err = c.Exchange(t.Context(), dnswire.Question{Name: "after." + canaryZone, Type: dnswire.A})
	if err == nil {
		t.Error("its resolver answers")
	}
	if _, err := c.Connect(t.Context(), "after."+canaryZone, 443); err == nil {
		t.Error("it connects to a name")
	}
	for _, a := range c.Tried() {
		if !a.Named {
			t.Errorf("it wanted to reach %s", a.To)
		}
	}
	if conn, err := c.Connect(t.Context(), "127.0.0.1", l.at.Gateway[0].Port()); err != nil {
		t.Errorf("its way out is gone, too: %v", err)
	} else {
		_ = conn.Close()
	}
}

// TestLeakTest_ItsLimitIsTheConfigurations: what is not tried by then shows nothing.
func TestLeakTest_ItsLimitIsTheConfigurations(t *testing.T) {
	l, _ := liveCanary(t, "")
	l.d.current().config.LeakTest.Limit = time.Millisecond
	if r := l.tries("PLAIN-DNS"); r.Verdict != leaktest.Inconclusive {
		t.Errorf("it is %s", r.Verdict)
	}
}

func TestLeakTest_OneRunsAtATime(t *testing.T) {
	t.Parallel()
	l, _ := liveCanary(t, "")
	began, first := make(chan struct{}, 100), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		_, err := l.d.LeakTest(ctx, TestRequest{Only: []string{"CUT-SILENT"}, Progress: func(leaktest.Progress) { began <- struct{}{} }})
		first <- err
	}()
	<-began
	if _, err := l.d.LeakTest(t.Context(), TestRequest{}); err != ErrTestUnderWay {
		t.Errorf("the second is told %v", err)
	}
	second := make(chan error, 1)
	go func() {
		_, err := l.d.Test(t.Context(), control.Test{Only: []string{"SOCKETS"}})
		second <- err
	}()
	stop()
	if err := <-first; err == nil {
		t.Error("one that was broken off gives a report")
	}
	if err := <-second; err != nil {
		t.Errorf("who asks by the control socket does not wait for its turn: %v", err)
	}
}
