package daemon

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/config"
	"watertight/control"
	"watertight/name"
)

// pooled starts a daemon with the channel `far` through a list of proxies, and gives the file.
func pooled(t *testing.T, list string) (*live, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "proxies.txt")
	write(t, file, list)
	l := newLive(t, "")
	l.text = l.config(strings.TrimSuffix(l.channels(""), "}\n") + ", far: {resolve: exit, proxy: {list: " + file + ", scheme: http, sticky: session}}}\nroutes: [{to: '*', channel: far}]\n")
	l.d.o.Config = l.load()
	return l.start(), file
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (l *live) far() *running {
	for _, r := range l.d.current().channels {
		if r.Name() == "far" {
			return r
		}
	}
	l.t.Fatal("there is no channel `far`")
	return nil
}

// poolOfStatus gives the pool that the status shows.
func (l *live) poolOfStatus() *control.Pool {
	for _, c := range l.d.Status().Channels {
		if c.Name == "far" {
			return c.Pool
		}
	}
	return nil
}

func TestAListThatChangesIsReadInPlaceAndAReloadKeepsTheChannel(t *testing.T) {
	l, file := pooled(t, "192.0.2.1:1:user:hunter2\n")
	before, known := l.far(), map[string]stamp{}
	l.d.rereadLists(known)
	write(t, file, "192.0.2.1:1:user:hunter2\n192.0.2.2:2:user:hunter2\n")
	l.d.rereadLists(known)
	if p := l.poolOfStatus(); p == nil || p.Members != 2 || len(p.List) != 2 || p.List[1].Host != "192.0.2.2:2" || p.StickyBy != "session" {
		t.Fatalf("%+v", p)
	}
	write(t, file, "192.0.2.1:1:user:hunter2\nhunter2\n")
	l.d.rereadLists(known)
	if p := l.poolOfStatus(); p.Members != 2 {
		t.Errorf("a bad list changed the pool: %+v", p)
	}
	if log := l.log.String(); !strings.Contains(log, "line 2") || strings.Contains(log, "hunter2") {
		t.Errorf("the log: %s", log)
	}
	if err := l.d.Reload(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a reload took the bad list: %v", err)
	}
	write(t, file, "192.0.2.3:3\n")
	if err := l.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := l.poolOfStatus(); p.Members != 1 || p.List[0].Host != "192.0.2.3:3" {
		t.Errorf("after a reload: %+v", p)
	}
	if l.far() != before {
		t.Error("the channel is another, and with it its caches and its connections")
	}
}

func TestThePoolIsShownWithoutCredentials(t *testing.T) {
	l, _ := pooled(t, "127.0.0.1:1:user:hunter2\n")
	l.refuses(l.at.Proxy[0], l.target(), http.StatusBadGateway, "HOP_REFUSED")
	_, text := l.get("/metrics")
	for _, want := range []string{
		`watertight_pool_members{channel="far",state="resting"} 1`, `watertight_pool_refused_total{channel="far"} 1`,
		`watertight_pool_member_failures_total{channel="far",host="127.0.0.1:1",member="1"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the metrics have no %s", want)
		}
	}
	_, short := l.get("/status")
	_, long := l.get("/status?pool")
	if strings.Contains(short, "last_error\": \"the proxy 127.0.0.1:1 refused") || !strings.Contains(long, "the proxy 127.0.0.1:1 refused the connection") {
		t.Errorf("the short status:\n%s\nthe long one:\n%s", short, long)
	}
	for _, s := range []string{text, short, long} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("a password is shown: %s", s)
		}
	}
}

func TestAListIsWatchedAsLongAsTheDaemonRuns(t *testing.T) {
	l, file := pooled(t, "192.0.2.1:1\n")
	write(t, file, "192.0.2.1:1\n192.0.2.2:2\n")
	for deadline := time.Now().Add(20 * time.Second); l.poolOfStatus().Members != 2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody looked at the list")
		}
	}
}

func TestExplain_ShowsThePool(t *testing.T) {
	c, err := config.Parse("f", []byte(`
channels:
  far:
    proxy: {pool: [socks5://a.example, "http://u:hunter2@192.0.2.1:3128"], pick: random, sticky: {by: client, for: 5m}}
    resolver: {upstreams: [quad9]}
routes: [{to: "*", channel: far}]
`), config.ThisHost())
	if err != nil {
		t.Fatal(err)
	}
	e, err := Explain(c, name.Must("api.example.com:443"), false)
	if err != nil {
		t.Fatal(err)
	}
	want := "a pool of 2 proxies (random, sticky by client for 5m0s): socks5://a.example:1080, http://u:***@192.0.2.1:3128"
	if !slices.Contains(e.Hops, want) || !slices.ContainsFunc(e.HopNames, func(n HopName) bool { return n.Name == "a.example" && n.Channel == "direct" }) {
		t.Errorf("hops %v, names %v", e.Hops, e.HopNames)
	}
	if !slices.ContainsFunc(e.Sees, func(s Sight) bool { return strings.HasPrefix(want, s.Place+": ") }) || !slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, "takes no other way") }) {
		t.Errorf("sees %+v, notes %v", e.Sees, e.Notes)
	}
}

func TestAListThatCarriesLessIsNotTakenInPlaceAndAReloadTakesIt(t *testing.T) {
	l, file := pooled(t, "socks5://192.0.2.1\n")
	before, known := l.far(), map[string]stamp{}
	l.d.rereadLists(known)
	if before.Packets() == nil {
		t.Fatal("a pool of SOCKS5 proxies carries no datagrams")
	}
	write(t, file, "socks5://192.0.2.1\n192.0.2.2:2:user:hunter2\n")
	l.d.rereadLists(known)
	if p := l.poolOfStatus(); p.Members != 1 {
		t.Errorf("the list was taken: %+v", p)
	}
	if log := l.log.String(); !strings.Contains(log, "192.0.2.2:2 carries no datagrams") || strings.Contains(log, "hunter2") {
		t.Errorf("the log: %s", log)
	}
	if err := l.d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := l.poolOfStatus(); p.Members != 2 || l.far() == before || l.far().Packets() != nil {
		t.Errorf("after a reload: %+v", p)
	}
}
