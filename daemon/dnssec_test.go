package daemon

import (
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"watertight/config"
	"watertight/dnssec"
	"watertight/event"
	"watertight/resolve"
)

// The resolver of these tests signs nothing, so that an answer of it is bogus under the trust anchors of the program.
func TestDNSSEC_HoldsFromTheReloadOn_AndNotAtANegativeAnchor(t *testing.T) {
	l := newLive(t, "").start().awaitReady()
	l.tunnel(l.at.Proxy[0])
	l.mustReload(l.channels(", dnssec: validate"))
	l.refuses(l.at.Proxy[0], l.target(), 502, "DNS_BOGUS")
	d := l.d.Status().Channels[0].Resolver.DNSSEC
	if d == nil || d.Mode != "validate" || d.Bogus == 0 || d.Secure+d.Insecure != 0 || len(d.Anchors) != len(dnssec.RootAnchors()) {
		t.Errorf("status %+v", d)
	}
	_, domain, _ := strings.Cut(hostName, ".")
	l.mustReload(l.channels(", dnssec: validate, negative_anchors: " + domain))
	l.tunnel(l.at.Proxy[0])
}

func TestDNSSEC_IsAsTheConfigurationSays_ByAClockThatIsNotBehindTheProgram(t *testing.T) {
	anchor := dnssec.RootAnchors()[1]
	c := config.Channel{Name: "x", Resolver: config.Resolver{DNSSEC: resolve.DNSSEC{
		Mode: resolve.Validate, Anchors: []dnssec.Anchor{anchor}, NegativeAnchors: []string{"corp.example"},
	}}}
	d := specOf(c, event.Discard{}).Resolver.DNSSEC
	if d.Mode != resolve.Validate || len(d.Anchors) != 1 || d.Anchors[0] != anchor || len(d.NegativeAnchors) != 1 {
		t.Errorf("%+v", d)
	}
	if d.NotBefore.Before(released) {
		t.Errorf("a clock at %v would do", d.NotBefore)
	}
	for value, want := range map[string]time.Time{
		"2030-02-03T04:05:06Z": time.Date(2030, 2, 3, 4, 5, 6, 0, time.UTC),
		"1970-01-01T00:00:00Z": released,
		"yesterday":            released,
	} {
		if got := builtFrom([]debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.time", Value: value}}); !got.Equal(want) {
			t.Errorf("%s: %v", value, got)
		}
	}
}
