package metrics

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"watertight/event"
	"watertight/fault"
	"watertight/guard"
	"watertight/name"
	"watertight/wire"
)

func options() Options {
	return Options{
		Version:  "1.2.3",
		Channels: []string{"direct", "office"},
		State: func() State {
			return State{
				Ready: true, Connections: 7, Tunnels: 3, OverLimit: 11, Unknown: 12, Faults: 13,
				Certificates: []CertificateState{{"a.example", time.Unix(2000000000, 0), 0}, {"b.example", time.Time{}, 26}},
				Guard:        &GuardState{Armed: true, Held: true, Restored: 41, Refused: guard.Counters{DNS: 42, LocalNames: 43}},
				LeakTest:     &LeakTestState{Runs: map[string]uint64{"sealed": 31, "leak": 2}, Last: time.Unix(2000000001, 0), Took: 90 * time.Second, Verdict: "leak", Cases: map[string]int{"leak": 3, "skipped": 4}, Closed: true, Untold: 5},
				Handshakes:   map[string]uint64{"proxy": 24, "dns": 25},
				Datagrams:    []DroppedDatagrams{{Door: event.DoorSOCKS5UDP, Reason: "fragment", Number: 14}},
				Channels: []ChannelState{
					{Name: "direct", SeesName: 1, Upstreams: []bool{true, false}, Identities: 6, Cache: CacheState{5, 2000, 4096, 40, 4, 3, 2, 1}, Peers: []PeerState{{90 * time.Second, 600, 700}, {-1, 8, 9}}},
					{Name: "office"},
				},
				DNS: &DNSState{Queries: map[string]uint64{"udp": 21, "https": 0}, Dropped: map[string]uint64{"rate": 22}, Truncated: 23},
			}
		},
		Log: slog.New(slog.DiscardHandler),
	}
}

func open(t testing.TB) *Metrics {
	t.Helper()
	m, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(t testing.TB, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// want checks that each line stands in the text.
func want(t *testing.T, text string, lines ...string) {
	t.Helper()
	have := strings.Split(text, "\n")
	for _, line := range lines {
		if !slices.Contains(have, line) {
			family, _, _ := strings.Cut(line, " ")
			family, _, _ = strings.Cut(family, "{")
			var like []string
			for _, h := range have {
				if strings.HasPrefix(h, family) && !strings.HasSuffix(h, " 0") {
					like = append(like, h)
				}
			}
			t.Errorf("the line %s is missing; there are:\n%s", line, strings.Join(like, "\n"))
		}
	}
}

func TestNew_RefusesWhatIsMissing(t *testing.T) {
	for _, cut := range []func(*Options){
		func(o *Options) { o.Version = "" },
		func(o *Options) { o.State = nil },
		func(o *Options) { o.Log = nil },
	} {
		o := options()
		cut(&o)
		if m, err := New(o); err == nil || m != nil {
			t.Errorf("New took %+v", o)
		}
	}
}

func TestMetrics_ShowTheStateOfTheProgram(t *testing.T) {
	want(t, read(t, open(t)),
		`watertight_ready 1`,
		`watertight_connections 7`,
		`watertight_tunnels_active 3`,
		`watertight_clients_turned_away_total{reason="limit"} 11`,
		`watertight_clients_turned_away_total{reason="protocol"} 12`,
		`watertight_clients_turned_away_total{reason="fault"} 13`,
		`watertight_tls_handshakes_failed_total{listener="proxy"} 24`,
		`watertight_certificate_expiry_timestamp_seconds{name="a.example"} 2e+09`,
		`watertight_certificate_expiry_timestamp_seconds{name="b.example"} 0`,
		`watertight_certificate_failures{name="b.example"} 26`,
		`watertight_tls_handshakes_failed_total{listener="dns"} 25`,
		`watertight_guard_armed 1`,
		`watertight_guard_held 1`,
		`watertight_guard_restored_total 41`,
		`watertight_guard_refused_packets_total{kind="dns"} 42`,
		`watertight_guard_refused_packets_total{kind="local_names"} 43`,
		`watertight_guard_refused_packets_total{kind="raw"} 0`,
		`watertight_leaktest_runs_total{verdict="sealed"} 31`,
		`watertight_leaktest_runs_total{verdict="inconclusive"} 0`,
		`watertight_leaktest_last_run_verdict{verdict="leak"} 1`,
		`watertight_leaktest_last_run_verdict{verdict="sealed"} 0`,
		`watertight_leaktest_last_run_cases{verdict="skipped"} 4`,
		`watertight_leaktest_last_run_timestamp_seconds 2.000000001e+09`,
		`watertight_leaktest_last_run_duration_seconds 90`,
		`watertight_leaktest_closed 1`,
		`watertight_leaktest_webhook_failures_total 5`,
		`watertight_datagrams_dropped_total{door="socks5-udp",reason="fragment"} 14`,
		`watertight_host_resolver_trapped_total 0`,
		`watertight_upstream_up{channel="direct",upstream="1"} 1`,
		`watertight_upstream_up{channel="direct",upstream="2"} 0`,
		`watertight_cache_entries{channel="direct"} 5`,
		`watertight_identities{channel="direct"} 6`,
		`watertight_cache_hits_total{channel="direct"} 40`,
		`watertight_cache_misses_total{channel="direct"} 4`,
		`watertight_resolvers_per_name{channel="direct"} 1`,
		`watertight_resolvers{channel="direct"} 2`,
		`watertight_cache_bytes{channel="direct"} 2000`,
		`watertight_cache_limit_bytes{channel="direct"} 4096`,
		`watertight_cache_stale_answers_total{channel="direct"} 3`,
		`watertight_cache_evictions_total{channel="direct"} 2`,
		`watertight_cache_prefetches_total{channel="direct"} 1`,
		`watertight_dns_queries_total{transport="udp"} 21`,
		`watertight_dns_queries_total{transport="https"} 0`,
		`watertight_dns_dropped_total{reason="rate"} 22`,
		`watertight_dns_truncated_total 23`,
		`watertight_wireguard_handshake_age_seconds{channel="direct",peer="1"} 90`,
		`watertight_wireguard_sent_bytes_total{channel="direct",peer="1"} 600`,
		`watertight_wireguard_received_bytes_total{channel="direct",peer="2"} 9`,
	)
}

func TestMetrics_CountEvents(t *testing.T) {
	m := open(t)
	m.Request(&event.Request{Door: event.DoorCONNECT, Took: 20 * time.Millisecond})
	m.Request(&event.Request{Door: event.DoorSOCKS5, Code: fault.DNSNXDomain, Took: 2 * time.Second})
	m.Request(&event.Request{Door: event.DoorSOCKS5, Code: fault.PolicyClientResolved, ClientResolved: true})
	m.Tunnel(&event.Tunnel{Up: 100, Down: 2000})
	m.Tunnel(&event.Tunnel{Up: 1, Down: -1})
	m.Lookup(&event.Lookup{Channel: "direct", RCode: "NOERROR", Took: 3 * time.Millisecond})
	m.Lookup(&event.Lookup{Channel: "direct", RCode: "NXDOMAIN", Cached: true})
	m.Lookup(&event.Lookup{Channel: "direct", RCode: "NOERROR", Cached: true, Hit: true, Age: 40 * time.Second})
	m.Lookup(&event.Lookup{Channel: "office", Code: fault.ResolverUntrusted, Took: time.Second})
	m.NetworkChanged()
	m.Reloaded(nil)
	m.Reloaded(errors.New("no"))
	want(t, read(t, m),
		`watertight_requests_total{code="OK",door="http-connect"} 1`,
		`watertight_requests_total{code="DNS_NXDOMAIN",door="socks5"} 1`,
		`watertight_requests_total{code="POLICY_CLIENT_RESOLVED",door="socks5"} 1`,
		`watertight_requests_total{code="OK",door="socks5"} 0`, // there before it happens, so that a rate sees the first
		`watertight_client_resolved_requests_total{door="socks5"} 1`,
		`watertight_request_duration_seconds_bucket{le="0.025"} 2`,
		`watertight_request_duration_seconds_count 3`,
		`watertight_relayed_bytes_total{direction="up"} 101`,
		`watertight_relayed_bytes_total{direction="down"} 2000`,
		`watertight_lookups_total{channel="direct",result="NOERROR"} 2`,
		`watertight_cache_age_seconds_count{channel="direct"} 1`, // what the cache had not is not in it
		`watertight_cache_age_seconds_bucket{channel="direct",le="30"} 0`,
		`watertight_cache_age_seconds_bucket{channel="direct",le="60"} 1`,
		`watertight_lookups_total{channel="direct",result="NXDOMAIN"} 1`,
		`watertight_lookups_total{channel="office",result="RESOLVER_UNTRUSTED"} 1`,
		`watertight_lookup_duration_seconds_count{channel="direct"} 1`, // the cached one is not in it
		`watertight_config_reloads_total{result="ok"} 1`,
		`watertight_network_changes_total 1`,
		`watertight_config_reloads_total{result="failed"} 1`,
	)
	totals := m.Totals()
	if totals.Requests != 3 || totals.Tunnels != 2 || len(totals.Refused) != 2 || totals.Refused[fault.DNSNXDomain] != 1 ||
		len(totals.ClientResolved) != 1 || totals.ClientResolved["socks5"] != 1 {
		t.Errorf("totals are %+v", totals)
	}
}

func TestMetrics_CountEveryDoorAndCodeUnderItself(t *testing.T) {
	m := open(t)
	for _, door := range event.Doors() {
		for _, code := range fault.Codes() {
			m.Request(&event.Request{Door: door, Code: code})
		}
	}
	text := read(t, m)
	for _, door := range event.Doors() {
		for _, code := range fault.Codes() {
			want(t, text, `watertight_requests_total{code="`+string(code)+`",door="`+string(door)+`"} 1`)
		}
	}
}

func TestMetrics_NeverTakeALabelFromOutsideTheClosedSets(t *testing.T) {
	m := open(t)
	const secret = "api.private.example"
	m.Request(&event.Request{
		Door: secret, Code: secret, Channel: secret, Target: name.Must(secret + ":443"),
		Client: netip.MustParseAddrPort("203.0.113.77:4242"), ClientResolved: true,
	})
	m.Lookup(&event.Lookup{Channel: secret, Upstream: secret, Type: secret, RCode: secret})
	m.Lookup(&event.Lookup{Channel: secret, Code: secret})
	m.Tunnel(&event.Tunnel{Door: secret})
	text := read(t, m)
	for _, s := range []string{secret, "203.0.113.77"} {
		if strings.Contains(text, s) {
			t.Errorf("the metrics tell %q", s)
		}
	}
	want(t, text,
		`watertight_requests_total{code="other",door="other"} 1`,
		`watertight_lookups_total{channel="(none)",result="other"} 2`,
	)
}

func TestSetChannels_KeepsTheCountsOfThoseThatStay(t *testing.T) {
	m := open(t)
	count := func() {
		m.Lookup(&event.Lookup{Channel: "direct", RCode: "NOERROR"})
		m.Lookup(&event.Lookup{Channel: "office", RCode: "NOERROR"})
	}
	count()
	m.SetChannels([]string{"direct", "home"})
	count() // the old generation drains: its events come late
	text := read(t, m)
	want(t, text,
		`watertight_lookups_total{channel="direct",result="NOERROR"} 2`,
		`watertight_lookups_total{channel="home",result="NOERROR"} 0`,
		`watertight_lookups_total{channel="(none)",result="NOERROR"} 1`,
		`watertight_lookup_duration_seconds_count{channel="direct"} 2`,
	)
	if strings.Contains(text, `"office"`) {
		t.Error("a channel that is gone is still shown")
	}
}

func TestMetrics_CountWhileTheyAreReadAndChannelsChange(t *testing.T) {
	m := open(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				m.Request(&event.Request{Door: event.DoorHTTP})
				m.Lookup(&event.Lookup{Channel: "office", RCode: "NOERROR"})
			}
		})
	}
	wg.Go(func() {
		for i := range 50 {
			m.SetChannels([][]string{{"direct"}, {"direct", "office"}}[i%2])
			read(t, m)
		}
	})
	wg.Wait()
	want(t, read(t, m), `watertight_requests_total{code="OK",door="http"} 2000`)
}

func TestMetrics_PassTheLinter(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(read(t, open(t)))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetrics_AllHaveTheProgramsPrefixOrAreOfTheProcess(t *testing.T) {
	for line := range strings.Lines(read(t, open(t))) {
		rest, ok := strings.CutPrefix(line, "# TYPE ")
		if !ok {
			continue
		}
		metric, _, _ := strings.Cut(rest, " ")
		if !strings.HasPrefix(metric, "watertight_") && !strings.HasPrefix(metric, "go_") && !strings.HasPrefix(metric, "process_") {
			t.Errorf("%s has a prefix of its own", metric)
		}
	}
}

func TestReading_ReachesNeitherResolverNorNetwork(t *testing.T) {
	wire.Seal()
	read(t, open(t))
	if n := wire.Trapped(); n != 0 {
		t.Errorf("%d attempts were trapped", n)
	}
}

func TestCounting_DoesNotAllocate(t *testing.T) {
	m := open(t)
	r := &event.Request{Door: event.DoorSOCKS5, Code: fault.DNSNXDomain, ClientResolved: true, Took: time.Millisecond}
	tunnel := &event.Tunnel{Up: 1, Down: 2}
	l := &event.Lookup{Channel: "direct", RCode: "NOERROR", Took: time.Millisecond}
	if n := testing.AllocsPerRun(100, func() { m.Request(r); m.Tunnel(tunnel); m.Lookup(l) }); n != 0 {
		t.Errorf("%v allocations for each round of events", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	m := open(b)
	r := &event.Request{Door: event.DoorCONNECT, Took: time.Millisecond}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Request(r)
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	m := open(b)
	l := &event.Lookup{Channel: "direct", RCode: "NOERROR", Cached: true}
	b.ReportAllocs()
	for b.Loop() {
		m.Lookup(l)
	}
}

func BenchmarkReading(b *testing.B) {
	m := open(b)
	h := m.Handler()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		_, _ = io.Copy(io.Discard, w.Body)
	}
}
