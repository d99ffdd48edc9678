package canary

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"watertight/visit"
)

// schema is a part of the description that is held against a type.
type schema struct {
	Type       string            `json:"type"`
	Ref        string            `json:"$ref"`
	Required   []string          `json:"required"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Enum       []string          `json:"enum"`
	Pattern    string            `json:"pattern"`
}

// described are the operations of the API, by path and method.
type described map[string]map[string]struct {
	Responses map[string]struct {
		Content map[string]struct{ Schema schema }
	}
}

// describes reads the description of the API as it is served.
func describes(t *testing.T, s *site) (paths described, schemas map[string]schema) {
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
	_, schemas := describes(t, newSite(t, Nowhere{}))
	types := map[string]reflect.Type{
		"Seen": reflect.TypeFor[visit.Seen](), "Query": reflect.TypeFor[visit.Query](), "Request": reflect.TypeFor[visit.Request](), "Network": reflect.TypeFor[visit.Network](),
		"Zone": reflect.TypeFor[visit.Zone](), "Whoever": reflect.TypeFor[visit.Whoever](), "Error": reflect.TypeFor[apiError](),
	}
	var branches []string
	for _, b := range visit.Branches {
		branches = append(branches, string(b))
	}
	if got := schemas["Zone"].Properties["branches"].Items.Enum; !slices.Equal(got, branches) {
		t.Errorf("the branches are %q, and are described as %q", branches, got)
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
			if is = is.bare(); !ok || !reflect.DeepEqual(is, want) {
				t.Errorf("%s.%s is described as %+v, and is %+v", name, key, is, want)
			}
		}
		if len(all) != len(got.Properties) {
			t.Errorf("%s: %d properties are described, and it has %d", name, len(got.Properties), len(all))
		}
	}
}

// bare is the schema without what a type of Go does not say.
func (s schema) bare() schema {
	s.Enum, s.Pattern = nil, ""
	if s.Items != nil {
		items := s.Items.bare()
		s.Items = &items
	}
	return s
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

// conforms says where a value is not as a schema has it; nothing where it is.
func (s schema) conforms(at string, v any, all map[string]schema) (wrong []string) {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		of, ok := all[name]
		if !ok {
			return []string{at + ": there is no schema " + name}
		}
		return of.conforms(at, v, all)
	}
	is := ""
	switch v := v.(type) {
	case bool:
		is = "boolean"
	case float64:
		if is = "number"; v == math.Trunc(v) {
			is = "integer"
		}
	case string:
		is = "string"
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			wrong = append(wrong, fmt.Sprintf("%s: %q is none of %v %s", at, v, s.Enum, s.Pattern))
		}
	case []any:
		is = "array"
		for i, e := range v {
			if s.Items != nil {
				wrong = append(wrong, s.Items.conforms(fmt.Sprintf("%s[%d]", at, i), e, all)...)
			}
		}
	case map[string]any:
		is = "object"
		for _, key := range s.Required {
			if _, ok := v[key]; !ok {
				wrong = append(wrong, at+"."+key+" is not there")
			}
		}
		for key, e := range v {
			if p, ok := s.Properties[key]; ok {
				wrong = append(wrong, p.conforms(at+"."+key, e, all)...)
			} else if len(s.Properties) > 0 {
				wrong = append(wrong, at+"."+key+" is not described")
			}
		}
	}
	if is != s.Type {
		wrong = append(wrong, fmt.Sprintf("%s is a %s, and not a %s", at, is, s.Type))
	}
	return wrong
}

// conforms asks, and holds the answer against the description of a path. It gives the status.
func (s *site) conforms(t *testing.T, path, as string, r *http.Request, paths described, all map[string]schema) int {
	t.Helper()
	r.RemoteAddr = "203.0.113.1:4711"
	rw := httptest.NewRecorder()
	s.ServeHTTP(rw, r)
	responses := paths[as]["get"].Responses
	of, ok := responses[fmt.Sprint(rw.Code)]
	if !ok {
		of, ok = responses["default"]
	}
	content, kind := of.Content[rw.Header().Get("Content-Type")], rw.Header().Get("Content-Type")
	if !ok || content.Schema.Type+content.Schema.Ref == "" {
		t.Errorf("%s %s: status %d with %s is not described", r.Method, path, rw.Code, kind)
		return rw.Code
	}
	var v any
	if err := json.Unmarshal(rw.Body.Bytes(), &v); err != nil {
		t.Errorf("%s %s: %v", r.Method, path, err)
	}
	for _, wrong := range content.Schema.conforms("answer", v, all) {
		t.Errorf("%s %s: %d: %s", r.Method, path, rw.Code, wrong)
	}
	return rw.Code
}

func TestTheDescriptionOfTheAPIAgreesWithItsAnswers(t *testing.T) {
	s := newSite(t, known)
	paths, schemas := describes(t, s)
	for _, want := range []string{visit.PathLabel + "{label}", visit.PathWhoami, visit.PathZone} {
		if _, ok := paths[want]; !ok {
			t.Errorf("%s is not described", want)
		}
	}
	label := visit.NewLabel()
	s.asks("203.0.113.53", label, visit.Plain, func(q *visit.Query) { q.Subnet = "198.51.100.0/24" })
	s.asks("192.0.2.200", label, visit.Bogus, func(q *visit.Query) { q.Over, q.Size = "tls", 0 })
	s.get("198.51.100.7", "https://"+visit.Name(label, visit.V4, testZone)+"/")
	got := map[int]bool{}
	for path := range paths {
		asked := []string{path}
		if strings.Contains(path, "{label}") {
			asked = nil
			for _, l := range []string{label, strings.ToUpper(label), visit.NewLabel(), "none"} {
				asked = append(asked, strings.Replace(path, "{label}", l, 1))
			}
		}
		for _, at := range asked {
			url := "https://" + testZone + pathAPI + at
			for _, r := range []*http.Request{
				httptest.NewRequest(http.MethodGet, url, nil), httptest.NewRequest(http.MethodPost, url, nil), httptest.NewRequest(http.MethodGet, url, strings.NewReader("body")),
			} {
				got[s.conforms(t, at, path, r, paths, schemas)] = true
			}
		}
	}
	for status := 0; status != http.StatusTooManyRequests; {
		status = s.conforms(t, visit.PathZone, visit.PathZone, httptest.NewRequest(http.MethodGet, "https://"+testZone+pathAPI+visit.PathZone, nil), paths, schemas)
		got[status] = true
	}
	for path := range paths {
		if s.conforms(t, path, path, httptest.NewRequest(http.MethodGet, "https://"+testZone+pathAPI+path, nil), paths, schemas) != http.StatusTooManyRequests {
			t.Errorf("%s is answered to who asks too often", path)
		}
	}
	for _, want := range []int{200, 400, 404, 405, 413, 429} {
		if !got[want] {
			t.Errorf("nothing was answered with %d", want)
		}
	}
}
