package dnswire

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var ofTheResolver = Question{Name: "dns.example", Type: HTTPS}

// rfc9848 is the list of RFC 9848, section 3.
const rfc9848 = "AEj+DQBEAQAgACAdd+scUi0IYFsXnUIU7ko2Nd9+F8M26pAGZVpz/KrWPgAEAAEAAWQVZWNoLXNpdGVzLmV4YW1wbGUubmV0AAA="

func TestTheServicesOfAnAnswerAreItsRecordsInServiceMode(t *testing.T) {
	ech, err := base64.StdEncoding.DecodeString(rfc9848)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseAnswer(reply(t, ofTheResolver, 0,
		"dns.example. 60 CNAME front.example.",
		"front.example. 60 HTTPS 3 Other.example. no-default-alpn alpn=h3 port=8443",
		"front.example. 60 HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.9 ech="+rfc9848,
		"front.example. 60 HTTPS 0 alias.example.",
		"front.example. 60 HTTPS 2 . mandatory=key65000 key65000=x",
		"front.example. 60 HTTPS 4 . mandatory=alpn,port alpn=h2 port=443 key65001=y",
	), ofTheResolver, 7)
	if err != nil {
		t.Fatal(err)
	}
	want := []Service{
		{Priority: 1, Target: "front.example", ALPN: []string{"h2", "h3"}, ECH: ech},
		{Priority: 3, Target: "other.example", ALPN: []string{"h3"}, NoDefault: true, Port: 8443},
		{Priority: 4, Target: "front.example", ALPN: []string{"h2"}, Port: 443},
	}
	if diff := cmp.Diff(want, a.Services()); diff != "" {
		t.Error(diff)
	}
}

func TestOfManyServicesOnlySomeAreLookedAt(t *testing.T) {
	var lines []string
	for i := range MaxServices + 5 {
		lines = append(lines, fmt.Sprintf("dns.example. 60 HTTPS %d . alpn=h2", i+1))
	}
	a, err := ParseAnswer(reply(t, ofTheResolver, 0, lines...), ofTheResolver, 7)
	if err != nil || len(a.Services()) != MaxServices {
		t.Errorf("%v, %v", a, err)
	}
}

func TestAnAnswerOfAnotherKindHasNoServices(t *testing.T) {
	for _, b := range [][]byte{reply(t, question, 0, "www.shop.example. 60 A 192.0.2.1"), reply(t, question, 3)} {
		if a := must(ParseAnswer(b, question, 7)); a.Services() != nil {
			t.Errorf("%+v", a.Services())
		}
	}
}

func FuzzServices(f *testing.F) {
	f.Add(reply(f, ofTheResolver, 0, "dns.example. 60 HTTPS 1 . alpn=h2,h3 port=8443 ech="+rfc9848))
	f.Add(reply(f, ofTheResolver, 0, "dns.example. 60 HTTPS 0 other.example.", "dns.example. 60 HTTPS 9 x.example. mandatory=alpn no-default-alpn alpn=h3"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAnswer(b, ofTheResolver, 7)
		if err != nil {
			return
		}
		services := a.Services()
		if len(services) > min(MaxServices, len(a.Records)) {
			t.Errorf("%d services of %d records", len(services), len(a.Records))
		}
		for i, s := range services {
			if s.Priority == 0 || i > 0 && services[i-1].Priority > s.Priority {
				t.Errorf("%+v", services)
			}
		}
	})
}

func TestAnAliasLeadsToAnotherName(t *testing.T) {
	for lines, want := range map[string]string{
		"dns.example. 60 HTTPS 0 Other.example.":                                           "other.example true",
		"dns.example. 60 HTTPS 1 . alpn=h2\ndns.example. 60 HTTPS 0 other.example.":        "other.example true",
		"dns.example. 60 CNAME a.example.\na.example. 60 HTTPS 0 other.example.":           "other.example true",
		"dns.example. 60 HTTPS 0 .":                                                        " true",
		"dns.example. 60 HTTPS 1 other.example. alpn=h2":                                   " false",
		"strange.example. 60 HTTPS 0 other.example.\ndns.example. 60 HTTPS 1 . alpn=h2,h3": " false",
	} {
		a, err := ParseAnswer(reply(t, ofTheResolver, 0, strings.Split(lines, "\n")...), ofTheResolver, 7)
		if err != nil {
			t.Fatal(err)
		}
		if target, ok := a.Alias(); fmt.Sprint(target, " ", ok) != want {
			t.Errorf("%s: %q %v", lines, target, ok)
		}
	}
}
