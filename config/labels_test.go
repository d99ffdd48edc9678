package config

import (
	"strings"
	"testing"

	"watertight/route"
)

func TestRoutes_AskForACountryAndASession(t *testing.T) {
	c := good(t, `
channels:
  exits:
    proxy: {url: "http://acme:hunter2@gw.provider.example:7777", template: oxylabs}
    resolver: {upstreams: [quad9]}
routes:
  - {to: a.example.com, channel: exits, country: NO, session: shop}
  - {to: b.example.com, channel: exits, session: per_request}
  - {to: "*", channel: direct}
`)
	for i, want := range []route.Labels{{Country: "no", Session: "shop"}, {PerRequest: true}, {}} {
		if got := c.Routes[i].Labels; got != want {
			t.Errorf("route %d: %+v, want %+v", i, got, want)
		}
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"country: \"no\"\n", "session: shop\n", "session: per_request\n", "template: oxylabs\n", `url: "http://acme:***@gw.provider.example:7777"`} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("%q is not shown:\n%s", want, shown)
		}
	}
	if strings.Contains(string(shown), "hunter2") {
		t.Errorf("the password is shown:\n%s", shown)
	}
}

func TestProxy_WithPlacesInItsUserIsATemplate(t *testing.T) {
	c := good(t, `
channels:
  exits:
    proxy: "http://acme[-cc-{country}]-{session}:hunter2@gw.provider.example:7777"
    resolver: {upstreams: [quad9]}
routes: [{to: "*", channel: exits, country: de}]
`)
	p := c.Channels[1].Proxies[0]
	if !p.Template.Has("country") || !p.Template.Has("session") || p.Template.Has("city") || p.User != "" {
		t.Errorf("%v", p)
	}
	shown, err := c.Show()
	if err != nil || strings.Contains(string(shown), "hunter2") || !strings.Contains(string(shown), "http://acme[-cc-{country}]-{session}:***@gw.provider.example:7777") {
		t.Errorf("%v:\n%s", err, shown)
	}
}
