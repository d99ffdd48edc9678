package canary

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"watertight/visit"
)

func TestTheAPITellsWhatPackageVisitSays(t *testing.T) {
	s := newSite(t, known)
	var zone visit.Zone
	r := s.get("198.51.100.7", "https://"+testZone+pathAPI+visit.PathZone)
	if err := json.Unmarshal(r.Body.Bytes(), &zone); err != nil || r.Header().Get("Content-Type") != "application/json" || zone.Zone != testZone ||
		zone.Keep != 3600 || len(zone.Addresses) != 2 || !slices.Equal(zone.Branches, visit.Branches) || len(zone.DS) != 1 || zone.Version != "test" {
		t.Errorf("%+v %v", zone, err)
	}
	var whoever visit.Whoever
	if err := json.Unmarshal(s.get("198.51.100.7", "https://"+testZone+pathAPI+visit.PathWhoami).Body.Bytes(), &whoever); err != nil ||
		whoever.Address != netip.MustParseAddr("198.51.100.7") || whoever.Network == nil || whoever.Network.Country != "DE" {
		t.Errorf("%+v %v", whoever, err)
	}
	label := visit.NewLabel()
	at := "https://" + testZone + pathAPI + visit.PathLabel
	for path, want := range map[string]int{
		label: http.StatusNotFound, "": http.StatusBadRequest, "short": http.StatusBadRequest, label + "/": http.StatusBadRequest, label + "-v4": http.StatusBadRequest,
		"../zone": http.StatusBadRequest, "%61" + label[1:]: http.StatusNotFound, strings.Repeat("1", 20): http.StatusBadRequest,
	} {
		var e apiError
		if r := s.get("198.51.100.7", at+path); r.Code != want || json.Unmarshal(r.Body.Bytes(), &e) != nil || e.Error == "" || e.Message == "" {
			t.Errorf("%s: %d %s", path, r.Code, r.Body)
		}
	}
	s.asks("203.0.113.53", label, visit.V6)
	var seen visit.Seen
	if err := json.Unmarshal(s.get("198.51.100.7", at+label).Body.Bytes(), &seen); err != nil || seen.Label != label || len(seen.Queries) != 1 || seen.Requests == nil ||
		seen.Queries[0].Network.Number != 64511 {
		t.Errorf("%+v %v", seen, err)
	}
}

func FuzzWeb(f *testing.F) {
	label := strings.Repeat("a", visit.LabelLength)
	f.Add("GET", testZone, "/api/v1/labels/"+label)
	f.Add("GET", label+"-v4."+testZone+":443", "/p.svg")
	f.Add("GET", testZone, "/visit/"+label+"?part=results")
	f.Add("HEAD", "[::1]:8443", "/api/v1/../v1/zone")
	f.Fuzz(func(t *testing.T, method, host, uri string) {
		s := newSite(t, Nowhere{})
		s.asks("203.0.113.53", label, visit.Plain)
		r, err := http.NewRequest(method, "http://x/", nil)
		if err != nil {
			return
		}
		if r.URL, err = r.URL.Parse(uri); err != nil {
			return
		}
		r.Host, r.RemoteAddr, r.RequestURI = host, "198.51.100.7:4711", uri
		rw := httptest.NewRecorder()
		s.ServeHTTP(rw, r)
		h := rw.Header()
		if rw.Code >= http.StatusInternalServerError || strings.ContainsAny(h.Get("Content-Security-Policy")+h.Get("Location"), "\r\n") || rw.Body.Len() > 64<<10 {
			t.Errorf("%d %v, %d octets", rw.Code, h, rw.Body.Len())
		}
		if l := h.Get("Location"); l != "" && !strings.HasPrefix(l, pathVisit) {
			t.Errorf("it leads to %s", l)
		}
		if rw.Code == http.StatusOK && strings.HasPrefix(h.Get("Content-Type"), "application/json") && !json.Valid(rw.Body.Bytes()) && method != http.MethodHead {
			t.Errorf("no JSON: %s", rw.Body)
		}
	})
}

func FuzzBound(f *testing.F) {
	f.Add(append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...), false)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		from := netip.MustParseAddrPort("192.0.2.1:7000")
		if v6 {
			from = netip.MustParseAddrPort("[2001:db8::1]:7000")
		}
		if a := bound(b, from); a != nil && (len(a) > len(b)+24 || a[0] != 1 || a[1] != 1) {
			t.Errorf("%x for %x", a, b)
		}
	})
}
