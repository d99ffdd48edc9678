package env

import (
	"strings"

	"watertight/doctor"
)

var partial = doctor.Rule{
	ID: "ENV-PARTIAL", Severity: doctor.Critical,
	Title:   "a proxy is set for one kind of URL only",
	Clients: []string{"Go, wget, urllib, grpc, Scrapy, k6, Node, reqwest (with ALL_PROXY only)", "curl, Go, requests (http:// URLs with HTTPS_PROXY only)", "all (https:// URLs with HTTP_PROXY only)"},
	Explain: `Each variable is for the scheme of the URL, and the fallback that ALL_PROXY is meant to be is not known to most clients.
Measured with ALL_PROXY only: Go, grpcio, grpc-js, grpc-go, wget, aria2, urllib, Scrapy, Node 24 with its flag, reqwest 0.11 for
https and k6 go direct, with a look-up in the clear; curl, requests, httpx, axios and Guzzle honour it. With HTTPS_PROXY only, an
http:// URL, or a redirect to one, goes direct in curl, Go and requests. With HTTP_PROXY only, every https:// URL goes direct.`,
	Find: doctor.InScopes(func(h *doctor.Host, s doctor.Scope) []doctor.Finding {
		first := func(name string) (doctor.Var, bool) {
			if v, ok := s.Get(name); ok {
				return v, true
			}
			return s.Get(strings.ToUpper(name))
		}
		plain, hasPlain := first("http_proxy")
		secure, hasSecure := first("https_proxy")
		all, hasAll := first("all_proxy")
		f := doctor.Finding{Fix: setAll(h)}
		switch {
		case hasAll && !hasPlain && !hasSecure:
			f.Fact, f.Evidence = "only "+all.Name+" is set, which most clients do not know", []string{all.String()}
			f.Clients = []string{"Go", "wget, aria2", "urllib, Scrapy", "grpcio, grpc-js, grpc-go", "Node with NODE_USE_ENV_PROXY", "reqwest", "k6"}
		case hasSecure && !hasPlain:
			f.Fact, f.Evidence = secure.Name+" is set and no proxy for http:// URLs", []string{secure.String()}
			f.Clients = []string{"curl, Go, requests and others, for http:// URLs and redirects to them", "Ruby Net::HTTP, for all"}
		case hasPlain && !hasSecure:
			f.Fact, f.Evidence = plain.Name+" is set and no proxy for https:// URLs", []string{plain.String()}
			f.Clients = []string{"all, for https:// URLs"}
		}
		return doctor.Only(f)
	}),
}
