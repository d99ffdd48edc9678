package canary

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
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

// schema is a part of the description that is held against a type.
type schema struct {
	Type       string            `json:"type"`
	Ref        string            `json:"$ref"`
	Required   []string          `json:"required"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Enum       []string          `json:"enum"`
}

// described reads the description of the API as it is served.
func described(t *testing.T, s *site) (paths map[string]map[string]struct {
	Responses map[string]struct {
		Content map[string]struct{ Schema schema }
	}
}, schemas map[string]schema,
) {
	t.Helper()
	var doc struct {
		OpenAPI    string
		Servers    []struct{ URL string }
		Paths      json.RawMessage
		Components struct{ Schemas map[string]schema }
	}
	r := s.get("198.51.100.7", "https://"+testZone+"/api/v1/openapi.json")
	if err := json.Unmarshal(r.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc.Paths, &paths); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || len(doc.Servers) != 1 || doc.Servers[0].URL != pathAPI {
		t.Errorf("%+v", doc)
	}
	return paths, doc.Components.Schemas
}

func TestTheDescriptionOfTheAPIAgreesWithItsTypes(t *testing.T) {
	_, schemas := described(t, newSite(t, Nowhere{}))
	types := map[string]reflect.Type{
		"Seen": reflect.TypeFor[visit.Seen](), "Query": reflect.TypeFor[visit.Query](), "Request": reflect.TypeFor[visit.Request](), "Network": reflect.TypeFor[visit.Network](),
		"Zone": reflect.TypeFor[visit.Zone](), "Whoever": reflect.TypeFor[visit.Whoever](), "Error": reflect.TypeFor[apiError](),
	}
	for name := range schemas {
		if types[name] == nil {
			t.Errorf("%s has no type", name)
		}
	}
	for name, of := range types {
		all, required := map[string]schema{}, []string{}
		for i := range of.NumField() {
			key, options, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			all[key] = schemaOf(of.Field(i).Type)
			if options != "omitempty" {
				required = append(required, key)
			}
		}
		got := schemas[name]
		slices.Sort(required)
		slices.Sort(got.Required)
		if !slices.Equal(required, got.Required) {
			t.Errorf("%s: %v are required, and not %v", name, required, got.Required)
		}
		for key, want := range all {
			is, ok := got.Properties[key]
			if is.Enum = nil; !ok || !reflect.DeepEqual(is, want) {
				t.Errorf("%s.%s is described as %+v, and is %+v", name, key, is, want)
			}
		}
		if len(all) != len(got.Properties) {
			t.Errorf("%s: %d properties are described, and it has %d", name, len(got.Properties), len(all))
		}
	}
}

func schemaOf(of reflect.Type) schema {
	switch of.Kind() {
	case reflect.Pointer:
		return schema{Ref: "#/components/schemas/" + of.Elem().Name()}
	case reflect.Slice:
		item := schemaOf(of.Elem())
		return schema{Type: "array", Items: &item}
	case reflect.Bool:
		return schema{Type: "boolean"}
	case reflect.Int, reflect.Uint16, reflect.Uint32:
		return schema{Type: "integer"}
	case reflect.Struct:
		if of.PkgPath() == "watertight/visit" {
			return schema{Ref: "#/components/schemas/" + of.Name()}
		}
	}
	return schema{Type: "string"}
}

func TestTheDescriptionOfTheAPIAgreesWithItsAnswers(t *testing.T) {
	s := newSite(t, Nowhere{})
	paths, schemas := described(t, s)
	label := visit.NewLabel()
	s.asks("203.0.113.53", label, visit.Plain)
	get := func(path string) (status string, keys []string) {
		r := s.get("203.0.113.1", "https://"+testZone+pathAPI+path)
		var m map[string]any
		if err := json.Unmarshal(r.Body.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		for k := range m {
			keys = append(keys, k)
		}
		return http.StatusText(r.Code), keys
	}
	codes := map[string]string{http.StatusText(http.StatusOK): "200", http.StatusText(http.StatusBadRequest): "400", http.StatusText(http.StatusNotFound): "404"}
	for path, methods := range paths {
		if len(methods) != 1 || methods["get"].Responses["429"].Content["application/json"].Schema.Ref != "#/components/schemas/Error" {
			t.Errorf("%s: %v", path, methods)
		}
		asked := []string{path}
		if strings.Contains(path, "{label}") {
			asked = nil
			for _, l := range []string{label, visit.NewLabel(), "none"} {
				asked = append(asked, strings.Replace(path, "{label}", l, 1))
			}
		}
		for _, at := range asked {
			status, keys := get(at)
			described, ok := methods["get"].Responses[codes[status]]
			if !ok {
				t.Errorf("%s: %s is not described", at, status)
			}
			of := schemas[strings.TrimPrefix(described.Content["application/json"].Schema.Ref, "#/components/schemas/")]
			for _, key := range keys {
				if _, ok := of.Properties[key]; !ok && described.Content["application/json"].Schema.Type != "object" {
					t.Errorf("%s: %q is not described", at, key)
				}
			}
		}
	}
	for _, want := range []string{visit.PathLabel + "{label}", visit.PathWhoami, visit.PathZone} {
		if _, ok := paths[want]; !ok {
			t.Errorf("%s is not described", want)
		}
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
