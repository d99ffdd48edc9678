package canary

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/visit"
)

// holders are networks that a test knows.
type holders map[string]visit.Network

func (h holders) Network(a netip.Addr) *visit.Network {
	n, ok := h[a.String()]
	if !ok {
		return nil
	}
	return &n
}

// written is what a log has.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// site is a web page whose clock a test moves, and what it has logged.
type site struct {
	*Web
	log *Log
	now time.Time
	own written
	ds  []string

	version string
}

func newSite(t testing.TB, networks Networks) *site {
	t.Helper()
	s := &site{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), version: "test", ds: []string{testZone + ". IN DS 1 13 2 00"}}
	clock := func() time.Time { return s.now }
	s.log = NewLog(LogOptions{Now: clock, Passed: Stopwatch()})
	var err error
	s.Web, err = NewWeb(Options{
		Zone: testZone, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		Servers: []Server{{Name: "ns1." + testZone, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
		Log:     s.log, Networks: networks, Logger: slog.New(slog.NewTextHandler(&s.own, nil)), Now: clock, Version: "test",
	}, WebOptions{Zone: s.zone})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// zone is what the site says of itself.
func (s *site) zone() visit.Zone {
	return visit.Zone{Zone: testZone, Addresses: s.o.Addresses, Branches: visit.Branches, Keep: 3600, DS: s.ds, Version: s.version}
}

// get asks for a URL from an address.
func (s *site) get(from, url string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(from), 4711).String()
	if strings.HasPrefix(url, "https:") {
		r.TLS = &tls.ConnectionState{}
	}
	rw := httptest.NewRecorder()
	s.ServeHTTP(rw, r)
	return rw
}

// asks has a resolver ask for the name of a visit.
func (s *site) asks(from, label string, b visit.Branch, more ...func(*visit.Query)) {
	at := netip.AddrPortFrom(netip.MustParseAddr(from), 53535)
	q := visit.Query{From: at, Over: "udp", Name: visit.Name(label, b, testZone) + ".", Type: "A", Size: 1232}
	for _, f := range more {
		f(&q)
	}
	s.log.Query(label, q)
}

var probe = regexp.MustCompile(`<img src="(https?://[^"]+)" alt="" width="1"`)

// opens opens the page of a new visit, and gives its label and the pictures that it has fetched.
func (s *site) opens(t testing.TB, from string) (label string, pictures []string) {
	t.Helper()
	at := s.get(from, "https://"+testZone+"/").Header().Get("Location")
	label = strings.TrimPrefix(at, pathVisit)
	if !visit.IsLabel(label) {
		t.Fatalf("the page leads to %q", at)
	}
	for _, m := range probe.FindAllStringSubmatch(s.get(from, "https://"+testZone+at).Body.String(), -1) {
		pictures = append(pictures, m[1])
	}
	return label, pictures
}

// headline is what the page of a visit says first.
func (s *site) headline(t testing.TB, label string) string {
	t.Helper()
	text := s.get("192.0.2.200", "https://"+testZone+pathVisit+label+"?part=results").Body.String()
	m := regexp.MustCompile(`<h2 id="h-verdict">([^<]*)</h2>`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no verdict in\n%s", text)
	}
	return m[1]
}

func TestAPageHasItsPicturesFetchedFromNamesOfTheVisitOnce(t *testing.T) {
	s := newSite(t, Nowhere{})
	label, pictures := s.opens(t, "198.51.100.7")
	want := []string{
		"https://" + label + "." + testZone, "https://" + label + "-v4." + testZone, "https://" + label + "-v6." + testZone,
		"https://" + label + "-bogus." + testZone, "https://" + label + "-tcp." + testZone, "https://deep.er." + label + "." + testZone,
	}
	for i, p := range pictures {
		if i >= len(want) || p != want[i]+"/p.svg" {
			t.Errorf("%s", p)
		}
	}
	if len(pictures) != len(want) {
		t.Fatal(pictures)
	}
	again := s.get("198.51.100.7", "https://"+testZone+pathVisit+label)
	if probe.MatchString(again.Body.String()) || !strings.Contains(again.Body.String(), `http-equiv="refresh"`) {
		t.Error("who opens it again fetches them again, or is not shown what comes next")
	}
	for _, p := range pictures {
		if r := s.get("198.51.100.7", p); r.Code != http.StatusOK || r.Header().Get("Content-Type") != "image/svg+xml" {
			t.Errorf("%s: %d %s", p, r.Code, r.Header())
		}
	}
	seen, _ := s.log.Seen(label)
	if len(seen.Requests) != 1+len(want) || seen.Requests[0].Host != testZone || !seen.Requests[1].Secure || seen.Requests[1].From.Addr().String() != "198.51.100.7" {
		t.Errorf("%+v", seen.Requests)
	}
	s.now = s.now.Add(pageLimit)
	if strings.Contains(s.get("198.51.100.7", "https://"+testZone+pathVisit+label).Body.String(), `http-equiv="refresh"`) {
		t.Error("the page is loaded again for ever")
	}
}

func TestThePageRefersToNothingOutside(t *testing.T) {
	s := newSite(t, Nowhere{})
	label, _ := s.opens(t, "198.51.100.7")
	all := s.get("198.51.100.7", "https://"+testZone+pathVisit+label).Body.String()
	for path := range s.files {
		all += string(s.files[path].text)
	}
	for _, m := range regexp.MustCompile(`(?i)(?:src|href|url\(|fetch\(|import)[ =("']*(https?:)?//([^"' )/]*)`).FindAllStringSubmatch(all, -1) {
		if m[2] != testZone && !strings.HasSuffix(m[2], "."+testZone) {
			t.Errorf("%s", m[0])
		}
	}
	if head, _, ok := strings.Cut(s.get("198.51.100.7", "https://"+testZone+"/visit/"+label).Body.String(), "</head>"); !ok || strings.Contains(head, "<section") || strings.Contains(head, "<p") {
		t.Errorf("the head has what is to be seen: %s", head)
	}
	for _, inline := range []string{"style=\"", "onclick", "onload", "<style", "<script>"} {
		if strings.Contains(all, inline) {
			t.Errorf("%s is forbidden by the page's own policy", inline)
		}
	}
}

// TestThePageMendsWebRTCByWhatWasMeasured: the flag that is often named leaves it open.
func TestThePageMendsWebRTCByWhatWasMeasured(t *testing.T) {
	clients, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	flag := regexp.MustCompile(`--[a-z-]*webrtc[a-z-]*=[a-z_]+`)
	s := newSite(t, Nowhere{})
	label, _ := s.opens(t, "198.51.100.7")
	told := flag.FindAllString(s.get("198.51.100.7", "https://"+testZone+pathVisit+label).Body.String(), -1)
	measured := flag.FindAllString(string(clients), -1)
	if len(told) != 1 || !slices.Contains(measured, told[0]) {
		t.Errorf("the page says %q, and %q was measured", told, measured)
	}
}

func TestEveryAnswerSaysWhatABrowserMayDoWithIt(t *testing.T) {
	s := newSite(t, Nowhere{})
	label := visit.NewLabel()
	for _, at := range []string{"/", pathVisit + label, "/api/v1/zone", "/api/v1/labels/" + label, "/style.css", "/nothing", "/p.svg"} {
		for _, host := range []string{testZone, label + "." + testZone, "192.0.2.1:8443", "[2001:db8::1]"} {
			h := s.get("198.51.100.7", "https://"+host+at).Header()
			policy := h.Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" ||
				h.Get("Referrer-Policy") != "no-referrer" || h.Get("Access-Control-Allow-Origin") != "" || h.Get("Set-Cookie") != "" || h.Get("Strict-Transport-Security") != "" {
				t.Errorf("%s%s: %v", host, at, h)
			}
			if at != "/style.css" && h.Get("Cache-Control") != "no-store" {
				t.Errorf("%s%s is kept by others: %s", host, at, h.Get("Cache-Control"))
			}
		}
	}
	if p := s.get("198.51.100.7", "http://"+testZone+":8080/").Header().Get("Content-Security-Policy"); !strings.Contains(p, "img-src 'self' http://*."+testZone+":8080;") {
		t.Error(p)
	}
	for _, host := range []string{"x;script-src *", "x:80; script-src *", "[::1]:script-src *"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		rw := httptest.NewRecorder()
		s.ServeHTTP(rw, r)
		if p := rw.Header().Get("Content-Security-Policy"); strings.Contains(p, "script-src *") {
			t.Error("a visitor writes the policy:", p)
		}
	}
}

func TestOnlyShortQuestionsAreAnswered(t *testing.T) {
	s := newSite(t, Nowhere{})
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodPost, "/api/v1/zone", nil), httptest.NewRequest(http.MethodOptions, "/", nil),
		httptest.NewRequest(http.MethodGet, "/api/v1/zone", strings.NewReader("body")),
	} {
		rw := httptest.NewRecorder()
		s.ServeHTTP(rw, r)
		if rw.Code != http.StatusMethodNotAllowed && rw.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s with %d octets: %d", r.Method, r.ContentLength, rw.Code)
		}
	}
	rw := httptest.NewRecorder()
	s.ServeHTTP(rw, httptest.NewRequest(http.MethodHead, "http://"+testZone+"/api/v1/zone", nil))
	if rw.Code != http.StatusOK || rw.Body.Len() != 0 {
		t.Errorf("HEAD: %d %s", rw.Code, rw.Body)
	}
}

func TestANetworkThatAsksTooOftenIsRefusedAndNoOtherIs(t *testing.T) {
	s := newSite(t, Nowhere{})
	refused := 0
	for i := range 2 * webBurst {
		if r := s.get(fmt.Sprintf("198.51.100.%d", i%250), "https://"+testZone+"/api/v1/zone"); r.Code == http.StatusTooManyRequests && r.Header().Get("Retry-After") != "" {
			refused++
		}
	}
	if refused != webBurst {
		t.Errorf("%d of %d were refused", refused, 2*webBurst)
	}
	if r := s.get("203.0.113.1", "https://"+testZone+"/api/v1/zone"); r.Code != http.StatusOK {
		t.Errorf("another network: %d", r.Code)
	}
	s.now = s.now.Add(2 * time.Second)
	if r := s.get("198.51.100.1", "https://"+testZone+"/api/v1/zone"); r.Code != http.StatusOK {
		t.Errorf("later: %d", r.Code)
	}
}

func TestNetworksThatAreToldApartHaveALimit(t *testing.T) {
	s := newSite(t, Nowhere{})
	taken := 0
	for i := range 5 * webNetworks {
		if s.rate.take(netip.AddrFrom4([4]byte{byte(10 + i>>16), byte(i >> 8), byte(i), 1})) {
			taken++
		}
	}
	if n := len(s.rate.buckets); n > webNetworks || taken != webNetworks+strangers*webBurst {
		t.Errorf("%d networks, %d let in", n, taken)
	}
	s.now = s.now.Add(time.Minute)
	if !s.rate.take(netip.MustParseAddr("192.0.2.1")) || len(s.rate.buckets) != 1 {
		t.Errorf("%d networks are known after a minute", len(s.rate.buckets))
	}
}

func TestNothingIsToldAfterAnHourAndNoAddressIsLogged(t *testing.T) {
	s := newSite(t, Nowhere{})
	label, pictures := s.opens(t, "198.51.100.7")
	s.get("198.51.100.7", pictures[0])
	s.asks("203.0.113.53", label, visit.Plain)
	s.now = s.now.Add(Keep - time.Second)
	at := "https://" + testZone + "/api/v1/labels/" + label
	if r := s.get("192.0.2.9", at); r.Code != http.StatusOK || !strings.Contains(r.Body.String(), "203.0.113.53") {
		t.Errorf("within the hour: %d %s", r.Code, r.Body)
	}
	s.now = s.now.Add(2 * time.Second)
	r := s.get("192.0.2.9", at)
	if r.Code != http.StatusNotFound || strings.Contains(r.Body.String(), "203.0.113.53") {
		t.Errorf("after the hour: %d %s", r.Code, r.Body)
	}
	page := s.get("192.0.2.9", "https://"+testZone+pathVisit+label+"?part=results").Body.String()
	if strings.Contains(page, "203.0.113.53") || !strings.Contains(page, "Nothing is known of this visit") {
		t.Error(page)
	}
	if s.own.String() != "" {
		t.Errorf("the log has %s", &s.own)
	}
}

func TestAFloodOfNamesByHTTPStaysWithinTheLog(t *testing.T) {
	s := newSite(t, Nowhere{})
	client := netip.MustParseAddrPort("198.51.100.7:1")
	for range 1_000_000 / 8 {
		s.came(visit.NewLabel(), client, strings.Repeat("x", 200), true)
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if len(s.log.visits) > s.log.o.Visits || s.log.octets.all > s.log.o.Octets {
		t.Errorf("%d visits, %d octets", len(s.log.visits), s.log.octets.all)
	}
}

func TestANameOfAVisitIsAnsweredAlikeInAnyCase(t *testing.T) {
	s := newSite(t, Nowhere{})
	label := visit.NewLabel()
	r := s.get("198.51.100.7", "http://"+strings.ToUpper(label)+"-V4."+testZone+":8080/")
	if r.Code != http.StatusOK || !strings.Contains(r.Body.String(), "198.51.100.7") {
		t.Errorf("%d %s", r.Code, r.Body)
	}
	var seen visit.Seen
	if err := json.Unmarshal(s.get("198.51.100.7", "http://"+testZone+"/api/v1/labels/"+strings.ToUpper(label)).Body.Bytes(), &seen); err != nil || len(seen.Requests) != 1 ||
		seen.Requests[0].Host != label+"-v4."+testZone || seen.Requests[0].Secure {
		t.Errorf("%+v %v", seen, err)
	}
}
