package daemon

import (
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"watertight/clock"
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
	floor := clock.NewFloor(built(), "")
	o := specOf(c, shared{sink: event.Discard{}, floor: floor}).Resolver
	d := o.DNSSEC
	if d.Mode != resolve.Validate || len(d.Anchors) != 1 || d.Anchors[0] != anchor || len(d.NegativeAnchors) != 1 || d.Keep != nil {
		t.Errorf("%+v", d)
	}
	if o.Floor != floor || floor.At().Before(released) {
		t.Errorf("a clock at %v would do", o.Floor.At())
	}
	for value, want := range map[string]time.Time{
		"2030-02-03T04:05:06Z": time.Date(2030, 2, 3, 4, 5, 6, 0, time.UTC),
		"1970-01-01T00:00:00Z": released,
		"yesterday":            released,
	} {
		info := debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.time", Value: value}}}
		if got := builtFrom(&info); !got.Equal(want) {
			t.Errorf("%s: %v", value, got)
		}
	}
	for version, want := range map[string]time.Time{
		"v0.0.0-20300203040506-0123456789ab":       time.Date(2030, 2, 3, 4, 5, 6, 0, time.UTC),
		"v1.2.4-0.20300203040506-0123456789ab":     time.Date(2030, 2, 3, 4, 5, 6, 0, time.UTC),
		"v1.2.3-rc.0.20300203040506-0123456789ab":  time.Date(2030, 2, 3, 4, 5, 6, 0, time.UTC),
		"v0.0.0-20300203040506-0123456789ab+dirty": time.Date(2030, 2, 3, 4, 5, 6, 0, time.UTC),
		"v0.0.0-20200203040506-0123456789ab":       released,
		"v0.0.0-20301399999999-0123456789ab":       released,
		"v1.2.3":                                   released,
		"(devel)":                                  released,
		"":                                         released,
	} {
		if got := builtFrom(&debug.BuildInfo{Main: debug.Module{Version: version}}); !got.Equal(want) {
			t.Errorf("%s: %v", version, got)
		}
	}
}
