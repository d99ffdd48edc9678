package channel

import (
	"os"
	"slices"
	"strings"
	"testing"

	"watertight/event"
	"watertight/hop"
	"watertight/resolve"
	"watertight/upstream"
)

func TestEveryHopHasItsPlaceInTheTable(t *testing.T) {
	want := map[string]bool{"direct": true, HopWireGuard: true}
	for _, scheme := range hop.Schemes() {
		want[scheme] = true
	}
	for _, c := range Carriers() {
		if !want[c.Hop] {
			t.Errorf("%s is no hop", c.Hop)
		}
		delete(want, c.Hop)
	}
	for scheme := range want {
		t.Errorf("nobody knows what %s carries", scheme)
	}
}

func TestTheDocumentationShowsTheCapabilityTable(t *testing.T) {
	doc, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if table := CapabilityTable(); !strings.Contains(string(doc), "```\n"+table+"```\n") {
		t.Errorf("docs/configuration.md does not show this table:\n%s", table)
	}
}

func TestWhatAHopCannotCarryIsAnErrorThatNamesBoth(t *testing.T) {
	w := newWorld(t, nil)
	direct := w.direct(t)
	for _, kind := range upstream.Kinds() {
		spec := upstream.Spec{URL: string(kind) + "://9.9.9.9"}
		switch kind {
		case upstream.DNSCrypt:
			spec.URL = "sdns://AQMAAAAAAAAADDkuOS45Ljk6ODQ0MyBnyEe4yHWM0SAkVUO-dWdG3zTfHYTAC4xHA2jfgh2GPhkyLmRuc2NyeXB0LWNlcnQucXVhZDkubmV0"
		case upstream.ODoH:
			spec.URL, spec.Relay = "sdns://BQAAAAAAAAAAEnRhcmdldC5leGFtcGxlLm5ldAovZG5zLXF1ZXJ5", "sdns://hQAAAAAAAAAACTE5Mi4wLjIuNwARcmVsYXkuZXhhbXBsZS5vcmcGL3Byb3h5"
		}
		u, err := spec.Build()
		if err != nil {
			t.Fatal(err)
		}
		resolver := resolve.Options{Upstreams: []upstream.Upstream{u}, Sink: event.Discard{}}
		for _, c := range Carriers() {
			spec := Spec{Name: "x", Resolver: resolver}
			if c.Hop == HopWireGuard {
				continue // its tests are its own
			}
			if c.Hop != "direct" {
				p, err := hop.ParseProxy(c.Hop + "://192.0.2.7:1080")
				if err != nil {
					t.Fatal(err)
				}
				spec.Proxies = []hop.Proxy{p}
			}
			x, err := Open(spec, direct)
			if err == nil {
				x.Close()
			}
			refused := err != nil && strings.Contains(err.Error(), kind.Name()) && strings.Contains(err.Error(), "192.0.2.7")
			if good := c.Carries(kind); good != (err == nil) || !good && !refused {
				t.Errorf("%s through %s: %v", kind, c.Hop, err)
			}
		}
	}
}

func TestAChannelCarriesDatagramsOnlyWhereWhatItStandsOnDoes(t *testing.T) {
	w := newWorld(t, nil)
	direct := w.direct(t)
	open := func(proxy string, below Below) *Channel {
		return w.open(t, Spec{Name: "through", Proxies: []hop.Proxy{mustProxy(t, proxy)}, Resolver: w.resolver(t, "tls://9.9.9.9")}, below)
	}
	connect, socks := open("http://192.0.2.7:3128", direct), open("socks5://192.0.2.7:1080", direct)
	above := open("socks5://192.0.2.8:1080", connect)
	if direct.Packets() == nil || socks.Packets() == nil || connect.Packets() != nil || above.Packets() != nil {
		t.Error("datagrams: direct and SOCKS carry them, HTTP does not, nor does what stands on it")
	}
	u, err := upstream.Parse("quic://9.9.9.9")
	if err != nil {
		t.Fatal(err)
	}
	resolver := resolve.Options{Upstreams: []upstream.Upstream{u}, Sink: event.Discard{}}
	_, err = Open(Spec{Name: "above", Resolver: resolver}, connect)
	if err == nil || !strings.Contains(err.Error(), "quic://9.9.9.9") || !strings.Contains(err.Error(), "stands on") {
		t.Errorf("it gave %v", err)
	}
	many := slices.Repeat([]hop.Proxy{mustProxy(t, "socks5://192.0.2.7")}, 8)
	_, err = Open(Spec{Name: "long", Proxies: many, Resolver: resolver}, direct)
	if err == nil || !strings.Contains(err.Error(), "quic://9.9.9.9") || !strings.Contains(err.Error(), "1200 octets") {
		t.Errorf("a chain that leaves no room for QUIC: %v", err)
	}
}
