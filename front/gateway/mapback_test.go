package gateway

import (
	"net/http"
	"strings"
	"testing"

	"watertight/name"
	"watertight/route"
)

func v1(t *testing.T) match {
	t.Helper()
	e := &Entry{Path: "/openai/", To: name.Must(originName + ":443"), ToPath: "/v1/"}
	return match{entry: e, target: e.To, base: e.Path, toBase: e.ToPath, rest: "a/b"}
}

func TestWhatPointsToTheOriginPointsToTheGateway(t *testing.T) {
	for ref, want := range map[string]string{
		"https://api.example.com/v1/next?p=2#x": "/openai/next?p=2#x",
		"https://API.example.com:443/v1/a%2Fb":  "/openai/a%2Fb",
		"//api.example.com/v1/":                 "/openai/",
		"https://api.example.com/v1":            "/openai",
		"/v1/x?":                                "/openai/x?",
		"c":                                     "/openai/a/c",
		"../c":                                  "/openai/c",
		"?q":                                    "/openai/a/b?q",
		"/login":                                "https://api.example.com/login",
		"/v10/x":                                "https://api.example.com/v10/x",
		"../../../login":                        "https://api.example.com/login",
		"https://api.example.com:8443/v1/x":     "https://api.example.com:8443/v1/x",
		"http://api.example.com/v1/x":           "http://api.example.com/v1/x",
		"https://u@api.example.com/v1/x":        "https://u@api.example.com/v1/x",
		"https://cdn.example.net/v1/x":          "https://cdn.example.net/v1/x",
		"https://api.example.com.evil.example/v1/x": "https://api.example.com.evil.example/v1/x",
		"/v1/%2e%2e/admin":                          "https://api.example.com/v1/%2e%2e/admin",
		"mailto:someone@example.com":                "mailto:someone@example.com",
		"::not a reference":                         "::not a reference",
	} {
		h := http.Header{"Location": {ref}, "Content-Location": {ref}, "Link": {"<" + ref + ">; rel=next, <https://api.example.com/v1/>; rel=\"a<b\""}, "Refresh": {"5; url=" + ref}}
		mapBack(h, v1(t))
		for _, got := range []string{h.Get("Location"), h.Get("Content-Location"), strings.TrimPrefix(h.Get("Refresh"), "5; url=")} {
			if got != want {
				t.Errorf("%s became %s, want %s", ref, got, want)
			}
		}
		if got := h.Get("Link"); got != "<"+want+">; rel=next, </openai/>; rel=\"a<b\"" {
			t.Errorf("Link: %s", got)
		}
	}
}

func TestCookiesAreForTheEntryAlone(t *testing.T) {
	for cookie, want := range map[string]string{
		"a=b":                       "a=b; Path=/openai/a",
		"a=b; Path=/v1/x; HttpOnly": "a=b; HttpOnly; Path=/openai/x",
		"a=b; path=/v1":             "a=b; Path=/openai/",
		"a=b; Path=/; Domain=.example.com; Secure; SameSite=Lax": "a=b; SameSite=Lax; Path=/openai/",
		"a=b; Path=/x; Path=/v1/y":                               "a=b; Path=/openai/y",
		"a=b; Path=; Max-Age=5":                                  "a=b; Max-Age=5; Path=/openai/a",
		"__Secure-a=b; Secure; Path=/v1/":                        "__Secure-a=b; Secure; Path=/openai/",
		"a=domain; x":                                            "a=domain; x; Path=/openai/a",
		"a=b; Path=/other":                                       "",
		"a=b; Path=/v10":                                         "",
	} {
		h := http.Header{"Set-Cookie": {cookie}}
		mapBack(h, v1(t))
		if got := strings.Join(h["Set-Cookie"], "|"); got != want {
			t.Errorf("%q became %q, want %q", cookie, got, want)
		}
	}
	m := v1(t)
	m.secure = true
	for cookie, want := range map[string]string{
		"a=b; Path=/v1/; Secure":                "a=b; Secure; Path=/openai/",
		"a=b; secure; SameSite=None; Path=/v1/": "a=b; secure; SameSite=None; Path=/openai/",
		"a=b; Path=/v1/":                        "a=b; Path=/openai/",
	} {
		if got, ok := m.backCookie(cookie); got != want || !ok {
			t.Errorf("over TLS %q became %q, want %q", cookie, got, want)
		}
	}
	m.rest = "" // asked for as /openai, whose folder is that of every origin
	if got, ok := m.backCookie("a=b"); got != "a=b; Path=/openai/" || !ok {
		t.Errorf("became %q", got)
	}
}

// What a path leads to never lies outside the entry, and what is mapped back leads there again.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/openai/v1/x", "/openai", "/openai//", "/openai/../x", "/https/api.example.com:8443/a", "/https/[::1]/", "/openai/%2e%2e/x", "/", "/https/", "\\"} {
		f.Add(s)
	}
	way := &world{}
	all := []Entry{
		{Path: "/openai/", To: name.Must(originName + ":443"), ToPath: "/v1/", Way: way},
		{Path: "/openai/beta/", To: name.Must("beta.example.com:443"), ToPath: "/", Way: way},
	}
	p, err := route.ParsePattern("*.example.com")
	if err != nil {
		f.Fatal(err)
	}
	all = append(all, Entry{Hosts: []route.Pattern{p}, Way: way})
	tab, err := NewTable(all)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		m, fault := tab.match(path)
		if fault != nil {
			return
		}
		form := m.originForm("", false)
		if !strings.HasPrefix(form, m.toBase) || strings.HasPrefix(form, "//") || hasDotSegment(form) {
			t.Fatalf("%q leads to %q", path, form)
		}
		if host, _ := m.target.Host().Name(); !strings.HasSuffix(host, ".example.com") {
			t.Fatalf("%q leads to %v", path, m.target)
		}
		h := http.Header{"Location": {"https://" + authority(m.target) + form}}
		mapBack(h, m)
		back := h.Get("Location")
		if !strings.HasPrefix(back, "/") {
			return // a form that net/url reads differently is left whole
		}
		again, fault := tab.match(back)
		if fault != nil || again.target != m.target {
			t.Fatalf("%q leads to %v %q, which maps back to %q, which leads to %v (%v)", path, m.target, form, back, again.target, fault)
		}
	})
}

// No field of a response breaks the mapping.
func FuzzMapBack(f *testing.F) {
	for _, s := range []string{"https://api.example.com/v1/x", "<a>; rel=b, <c", "a=b; Path=/; Domain=x", "5; url='x'", "//", "?"} {
		f.Add(s)
	}
	e := &Entry{Path: "/openai/", To: name.Must(originName + ":443"), ToPath: "/v1/"}
	f.Fuzz(func(t *testing.T, v string) {
		h := http.Header{"Location": {v}, "Content-Location": {v}, "Link": {v}, "Refresh": {v}, "Set-Cookie": {v}}
		mapBack(h, match{entry: e, target: e.To, base: e.Path, toBase: e.ToPath, rest: "a"})
		for k, values := range h {
			if len(values) > 1 || len(strings.Join(values, "")) > 4*len(v)+200 {
				t.Fatalf("%s: %q", k, values)
			}
		}
		if strings.Contains(strings.ToLower(h.Get("Set-Cookie")), "; domain=") {
			t.Fatalf("a domain is left: %q", h.Get("Set-Cookie"))
		}
	})
}
