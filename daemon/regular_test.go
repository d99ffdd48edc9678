package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"watertight/control"
	outcomes "watertight/leaktest/history"
	"watertight/leaktest/regular"
)

// quiet is a configuration whose program tests itself when the test says so, and not before.
func quiet(dir, onLeak string) string {
	return fmt.Sprintf("state: %q\nleaktest: {every: 0s, on_change: false, on_leak: %s, canary: {zone: canary.example.org, api: \"https://127.0.0.1/\", channel: direct}}\n", dir, onLeak)
}

var (
	found = regular.Outcome{
		At: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), Took: time.Second, Verdict: regular.Leak, Cases: regular.Counts{Sealed: 7, Leak: 1, Skipped: 2},
		Found: []regular.Found{{ID: "NAME-BY-DOOR", Title: "a name is asked for by nobody else"}}, Report: []byte(`{"verdict":"leak"}`),
	}
	clean = regular.Outcome{At: time.Date(2026, 6, 1, 13, 0, 0, 0, time.UTC), Verdict: regular.Sealed, Cases: regular.Counts{Sealed: 8}}
)

// tests lets a test come out as o.
func (l *live) tests(o regular.Outcome) {
	l.t.Helper()
	l.d.tests.test = func(context.Context, regular.Cause) regular.Outcome { return o }
	l.d.testRegularly(l.t.Context(), regular.Asked)
}

// ask asks the DNS door for an address.
func (l *live) ask(host string) *miekg.Msg {
	l.t.Helper()
	q := new(miekg.Msg).SetQuestion(host+".", miekg.TypeA)
	q.SetEdns0(1232, false)
	wire, err := q.Pack()
	if err != nil {
		l.t.Fatal(err)
	}
	conn, err := net.Dial("udp", l.door("").String())
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := conn.Write(wire); err != nil {
		l.t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		l.t.Fatal(err)
	}
	a := new(miekg.Msg)
	if err := a.Unpack(b[:n]); err != nil {
		l.t.Fatal(err)
	}
	return a
}

const allDoors = "listen: {proxy: 127.0.0.1:0, gateway: 127.0.0.1:0, dns: 127.0.0.1:0, admin: 127.0.0.1:0}\n"

// closedEverywhere wants each door to refuse, with the reason.
func (g *gated) closedEverywhere() {
	g.t.Helper()
	at := g.at.Proxy[0]
	resp := dialProxy(g.t, at).connect(g.t, g.target())
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(resp.Status, "closed: the leak test of 2026-06-01 12:00 UTC found NAME-BY-DOOR (NOT_READY)") {
		g.t.Errorf("CONNECT: %s", resp.Status)
	}
	g.refuses(at, "127.0.0.1:443", http.StatusServiceUnavailable, "NOT_READY")
	socks := dialProxy(g.t, at)
	fmt.Fprintf(socks, "\x05\x01\x00\x05\x01\x00\x03%c%s\x00\x50", len(hostName), hostName)
	b := make([]byte, 4)
	if _, err := socks.r.Read(b[:2]); err != nil {
		g.t.Error(err)
	}
	if _, err := socks.r.Read(b); err != nil || b[1] == 0 {
		g.t.Errorf("SOCKS5: % x %v", b, err)
	}
	if a := g.ask(hostName); a.Rcode != miekg.RcodeServerFailure || len(a.Answer) > 0 || a.IsEdns0() == nil || len(a.IsEdns0().Option) == 0 {
		g.t.Errorf("DNS: %v", a)
	} else if ede, ok := a.IsEdns0().Option[0].(*miekg.EDNS0_EDE); !ok || ede.InfoCode != miekg.ExtendedErrorCodeNotReady {
		g.t.Errorf("DNS: %v", a)
	}
	if status, body := g.get(g.base()+"/a/x", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "NOT_READY") || !strings.Contains(body, "watertight test accept") {
		g.t.Errorf("gateway: %d %s", status, body)
	}
}

// openEverywhere wants each door to serve.
func (g *gated) openEverywhere() {
	g.t.Helper()
	g.tunnel(g.at.Proxy[0])
	if a := g.ask(hostName); a.Rcode != miekg.RcodeSuccess || len(a.Answer) == 0 {
		g.t.Errorf("DNS: %v", a)
	}
	if status, body := g.get(g.base()+"/a/x", ""); status != http.StatusOK {
		g.t.Errorf("gateway: %d %s", status, body)
	}
}

func TestALeakClosesEveryDoor_OverARestart_UntilATestIsClean(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	text := allDoors + quiet(dir, "close")
	g := newGated(t, one, text)
	g.start().awaitReady()
	g.openEverywhere()
	open := g.tunnel(g.at.Proxy[0])
	g.tests(found)
	g.closedEverywhere()
	open.carries(t) // it looks nothing up

	if status, body := g.live.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "NAME-BY-DOOR") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, body := g.live.get("/healthz"); status != http.StatusOK || !strings.HasPrefix(body, "closed: ") {
		t.Errorf("healthz: %d %s", status, body)
	}
	if _, body := g.live.get("/metrics"); !strings.Contains(body, "watertight_leaktest_closed 1\n") || !strings.Contains(body, `watertight_leaktest_runs_total{verdict="leak"} 1`) {
		t.Error("the metrics do not tell")
	}
	s := g.d.Status()
	if s.Ready || s.LeakTest == nil || s.LeakTest.Closed == nil || s.LeakTest.Last.Verdict != regular.Leak {
		t.Errorf("%+v", s.LeakTest)
	}
	var shown strings.Builder
	if err := control.RenderStatus(&shown, s); err != nil || !strings.Contains(shown.String(), "CLOSED: the leak test of 2026-06-01") {
		t.Errorf("%v\n%s", err, &shown)
	}
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}

	again := newGated(t, one, text)
	again.start().awaitReady()
	again.closedEverywhere()
	again.tests(regular.Outcome{Verdict: regular.Inconclusive})
	again.closedEverywhere()
	again.tests(clean)
	again.openEverywhere()
	if status, _ := again.live.get("/readyz"); status != http.StatusOK {
		t.Errorf("readyz: %d", status)
	}
}

func TestAPersonsWordOpensWhatALeakHasClosed(t *testing.T) {
	g := newGated(t, one, allDoors+quiet(t.TempDir(), "close"))
	g.start().awaitReady()
	if g.d.Accept() != nil {
		t.Error("nothing was closed")
	}
	g.tests(found)
	g.closedEverywhere()
	if was := g.d.Accept(); was == nil || was.Found[0].ID != "NAME-BY-DOOR" {
		t.Errorf("%+v", was)
	}
	g.openEverywhere()
}

func TestWhileATestRunsTheNamesOfItsZoneGoOutOfWhatIsClosed_AndNoOthers(t *testing.T) {
	g := newGated(t, one, allDoors+strings.Replace(quiet(t.TempDir(), "close"), "canary.example.org", hostName[strings.IndexByte(hostName, '.')+1:], 1))
	g.start().awaitReady()
	g.tests(found)
	g.closedEverywhere()
	during := func(do func()) {
		g.d.tests.test = func(context.Context, regular.Cause) regular.Outcome {
			g.d.tests.underWay.Store(true)
			defer g.d.tests.underWay.Store(false)
			do()
			return regular.Outcome{Verdict: regular.Inconclusive}
		}
		g.d.testRegularly(t.Context(), regular.Clock)
	}
	during(func() {
		g.tunnel(g.at.Proxy[0])
		g.refuses(g.at.Proxy[0], "elsewhere.example.net:443", http.StatusServiceUnavailable, "NOT_READY")
		g.refuses(g.at.Proxy[0], "192.0.2.7:443", http.StatusServiceUnavailable, "NOT_READY")
	})
	g.closedEverywhere()
}

func TestALeakThatIsReportedClosesNothing(t *testing.T) {
	g := newGated(t, one, allDoors+quiet(t.TempDir(), "report"))
	g.start().awaitReady()
	g.tests(found)
	g.openEverywhere()
	if !strings.Contains(g.log.String(), "the leak test found a leak") || !strings.Contains(g.log.String(), "NAME-BY-DOOR") {
		t.Error(g.log)
	}
}

func TestWhatTheConfigurationSaysOfLeaksHoldsFromTheReloadOn(t *testing.T) {
	dir := t.TempDir()
	g := newGated(t, one, allDoors+quiet(dir, "close"))
	g.start().awaitReady()
	g.tests(found)
	g.mustReload(g.text(one, allDoors+quiet(dir, "close")))
	g.closedEverywhere()
	g.mustReload(g.text(one, allDoors+quiet(dir, "report")))
	g.openEverywhere()
	if err := g.reload(g.text(one, allDoors) + "state: none\nleaktest: {on_leak: close}\n"); err == nil {
		t.Error("what is closed would be open after a restart")
	}
}

func TestClosingNeedsAPlaceWhereItIsKept(t *testing.T) {
	l := newLive(t, "leaktest: {on_leak: close}\n")
	l.d.o.State = ""
	if err := l.d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "write `state: DIR`") {
		t.Error(err)
	}
}

func TestWhatIsKeptOfALeakAndCannotBeReadClosesAtTheStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, regular.File), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLive(t, quiet(dir, "close")).start().awaitReady()
	l.refuses(l.at.Proxy[0], l.target(), http.StatusServiceUnavailable, "NOT_READY")
}

func TestOutcomesAreKeptAndTold(t *testing.T) {
	dir := t.TempDir()
	l := newLive(t, quiet(dir, "report")).start().awaitReady()
	if _, err := os.Stat(filepath.Join(dir, outcomes.File)); err == nil {
		t.Error("the history is made before there is an outcome")
	}
	l.tests(found)
	l.tests(clean)
	all, err := l.d.Outcomes(t.Context(), outcomes.Filter{Reports: true})
	if err != nil || len(all) != 2 || all[0].Verdict != regular.Sealed || all[1].Cases.Leak != 1 || string(all[1].Report) != `{"verdict":"leak"}` {
		t.Errorf("%+v %v", all, err)
	}
	if s := l.d.Status().LeakTest; s == nil || s.Last.Verdict != regular.Sealed || s.History != filepath.Join(dir, outcomes.File) || s.Next != nil {
		t.Errorf("%+v", s)
	}
	l.mustReload("") // without the section
	if _, err := l.d.Outcomes(t.Context(), outcomes.Filter{}); err == nil || l.d.Status().LeakTest != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeKeptStopsNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, outcomes.File), 0o700); err != nil {
		t.Fatal(err)
	}
	l := newLive(t, quiet(dir, "close")).start().awaitReady()
	l.tests(found)
	l.refuses(l.at.Proxy[0], l.target(), http.StatusServiceUnavailable, "NOT_READY")
	if !strings.Contains(l.log.String(), "is not kept") {
		t.Error(l.log)
	}
}

func TestAWebhookIsToldThroughItsChannel(t *testing.T) {
	bodies := make(chan string, 10)
	g := newGated(t, one, "")
	hook := fmt.Sprintf(", webhook: {url: \"https://%s:%d/v1/hook\", channel: direct, on: change, ca: %q, headers: {X-Key: hunter2}}}", hostName, g.port, caFile)
	g.hooked = func(r *http.Request, body string) { bodies <- r.RequestURI + " " + r.Header.Get("X-Key") + " " + body }
	g.live.text = g.config(g.text(one, allDoors+strings.TrimSuffix(strings.TrimSpace(quiet(t.TempDir(), "close")), "}")+hook+"\n"))
	g.d.o.Config = g.load()
	g.start().awaitReady()
	g.tests(clean) // nothing was known before, and all is well
	g.tests(found)
	g.tests(found) // as before
	g.tests(clean)
	for _, want := range []struct{ verdict, before string }{{regular.Leak, regular.Sealed}, {regular.Sealed, regular.Leak}} {
		select {
		case got := <-bodies:
			var say hookBody
			head, body, _ := strings.Cut(got, "hunter2 ")
			if err := json.Unmarshal([]byte(body), &say); err != nil || head != "/v1/hook " || say.Verdict != want.verdict || say.Before != want.before || say.Closed != (want.verdict == regular.Leak) {
				t.Errorf("%s: %v, want %v", got, err, want)
			}
		case <-time.After(limit):
			t.Fatalf("it is not told\n%s", g.log)
		}
	}
	if strings.Contains(g.log.String(), "hunter2") {
		t.Error("a secret is in the log")
	}
}
