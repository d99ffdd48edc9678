package leaktest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/visit"
)

func TestACleanProgramIsSealed(t *testing.T) {
	w := newWorld(t)
	routed("out", "out")(w)
	withUsers := w.changeDoors
	handsOver(nil)(w)
	withHands := w.changeDoors
	w.changeDoors = func(all []Door) []Door { return withHands(withUsers(all)) }
	r := w.run()
	if r.Verdict != Sealed {
		t.Errorf("verdict %s", r.Verdict)
	}
	for _, c := range r.Cases {
		if c.Verdict != Sealed {
			t.Errorf("%s: %s %s: %s", c.ID, c.Verdict, c.Reason, strings.Join(c.Evidence, "\n\t"))
		}
	}
}

// TestWithoutEvidenceNothingIsSealed takes the instruments away, one at a time.
func TestWithoutEvidenceNothingIsSealed(t *testing.T) {
	for _, one := range []struct {
		name   string
		seed   func(w *world)
		change func(o *Options)
		id     string
		want   Verdict
		says   string
	}{
		{name: "no canary", change: func(o *Options) { o.Canary = nil }, id: "NAME-BY-DOOR", want: Skipped, says: "no canary is configured"},
		{name: "the canary cannot be reached", seed: func(w *world) { w.mute = true }, id: "NAME-BY-CHANNEL", want: Skipped, says: "cannot be asked"},
		{name: "another canary", seed: func(w *world) { w.other = true }, id: "FAILING-NAME", want: Skipped, says: "other.example.org"},
		{name: "the zone is not delegated to it", seed: func(w *world) { w.deaf = true }, id: "NAME-BY-CHANNEL", want: Inconclusive, says: "has not seen the question"},
		{name: "a leak on purpose is not seen", seed: func(w *world) { w.control = false }, id: "CONTROL", want: Inconclusive, says: "seen nothing"},
		{name: "no leak on purpose", change: func(o *Options) { o.Control = nil }, id: "CONTROL", want: Skipped, says: "not to be asked"},
		{name: "nobody reads packets", seed: func(w *world) { w.blind = true }, id: "PACKETS", want: Skipped, says: "nobody reads packets"},
		{name: "packets were lost", seed: func(w *world) { w.seen.Blind = "12 packets were lost" }, id: "PACKETS", want: Inconclusive, says: "12 packets were lost"},
		{
			name: "who asked for the name of a hop is not known", id: "PACKETS", want: Inconclusive, says: "gw.provider.example",
			seed: func(w *world) { has(hopName, false)(w); w.seen.Sightings[1].Process = "" },
		},
		{
			name: "in another network the resolver does not answer", id: "NETWORK-CHANGED", want: Inconclusive, says: "did not answer once more",
			seed: goesWrong("changed", window{lost: true}),
		},
		{
			name: "a channel that was cut off does not come back", id: "CONNECTED-AGAIN", want: Inconclusive, says: "did not answer again",
			seed: goesWrong("again", window{lost: true}),
		},
		{name: "the canary kept too little", seed: func(w *world) { w.overflow = true }, id: "NAME-BY-CHANNEL", want: Inconclusive, says: "more than the canary keeps"},
		{
			name: "whose an address is, is not known", id: "FAILING-NAME", want: Inconclusive, says: "is not known",
			seed: func(w *world) { w.data, w.roams = false, true },
		},
		{name: "what the policy lets pass is refused otherwise", seed: func(w *world) { w.shut = true }, id: "PLAIN-DNS", want: Inconclusive, says: "NOT_READY"},
		{name: "a door does not let the test in", seed: func(w *world) { w.stranger = true }, id: "PLAIN-DNS", want: Inconclusive, says: "does not let the test in"},
		{name: "nor for what it answers itself", seed: func(w *world) { w.stranger = true }, id: "SPECIAL-NAME", want: Inconclusive, says: "does not let the test in"},
		{name: "nor for http://", seed: func(w *world) { w.stranger = true }, id: "PLAIN-HTTP", want: Inconclusive, says: "does not let the test in"},
		{name: "nor for datagrams", seed: func(w *world) { w.stranger = true }, id: "DATAGRAM-BY-DOOR", want: Inconclusive, says: "does not let the test in"},
		{name: "nor for names that fail", seed: func(w *world) { w.stranger = true }, id: "FAILING-NAME", want: Inconclusive, says: "does not let the test in"},
		{name: "a case that is not chosen", change: func(o *Options) { o.Only = []string{"CLIENT-RESOLVED"} }, id: "CLIENT-RESOLVED", want: Sealed},
	} {
		t.Run(one.name, func(t *testing.T) {
			w := newWorld(t)
			if one.seed != nil {
				one.seed(w)
			}
			change := one.change
			if change == nil {
				change = func(*Options) {}
			}
			r := w.run(change)
			c, _ := r.Find(one.id)
			if r.Verdict != Inconclusive || c.Verdict != one.want || !strings.Contains(c.Reason, one.says) {
				t.Errorf("the run is %s; %s is %s: %s\n%s", r.Verdict, c.ID, c.Verdict, c.Reason, strings.Join(c.Evidence, "\n"))
			}
		})
	}
}

// TestWithoutEvidenceOfAGuardNothingIsSealed, where the configuration asks for one.
func TestWithoutEvidenceOfAGuardNothingIsSealed(t *testing.T) {
	for _, one := range doubtfulGuards() {
		t.Run(one.name, func(t *testing.T) {
			r := one.run(newWorld(t))
			if c, _ := r.Find(one.id); r.Verdict != Inconclusive || c.Verdict != Inconclusive || !strings.Contains(c.Reason, one.says) || c.Fix == "" {
				t.Errorf("the run is %s; %s is %s: %s (mend: %q)\n%s", r.Verdict, c.ID, c.Verdict, c.Reason, c.Fix, strings.Join(c.Evidence, "\n"))
			}
		})
	}
}

// TestAPacketOfTheLeakOnPurposeIsEnough: the host's resolver need not reach the canary.
func TestAPacketOfTheLeakOnPurposeIsEnough(t *testing.T) {
	w := newWorld(t)
	w.control = false
	w.seen = sighting(Sighting{What: "label", Form: "wire", Label: "control"})
	r := w.run()
	if c, _ := r.Find("CONTROL"); r.Verdict != Sealed || c.Verdict != Sealed {
		t.Errorf("the run is %s, the control %s: %s", r.Verdict, c.Verdict, c.Reason)
	}
}

// TestAHopThatResolvesIsGivenTheName, and that is no leak where it is known to be the hop.
func TestAHopThatResolvesIsGivenTheName(t *testing.T) {
	hop := netip.MustParseAddrPort("198.18.60.9:1080")
	s := Sighting{What: "label", Form: "text", Label: "aaaaaaaaaaaaaaaaaaaa", To: hop}
	for _, one := range []struct {
		what string
		c    Channel
		s    Sighting
		want Verdict
	}{
		{"to the hop", Channel{Exit: true, Peers: []netip.AddrPort{hop}}, s, Sealed},
		{"to another", Channel{Exit: true, Peers: []netip.AddrPort{netip.MustParseAddrPort("198.18.60.9:1081")}}, s, Leak},
		{"where the hop is known by its name", Channel{Exit: true}, s, Inconclusive},
		{"where nobody resolves but the channel", Channel{Peers: []netip.AddrPort{hop}}, s, Leak},
		{"as a question in clear", Channel{Exit: true, Peers: []netip.AddrPort{hop}}, Sighting{What: "label", Form: "wire", Label: s.Label, To: hop}, Leak},
	} {
		r, f := &run{channels: []Channel{one.c}}, &findings{}
		r.judgePacket(one.s, f)
		if got := f.conclude(definition{}); got.Verdict != one.want {
			t.Errorf("%s: %s, want %s", one.what, got.Verdict, one.want)
		}
	}
}

// TestTheGatewayShowsTheCanaryItsName, and that is no leak on the way of its channel.
func TestTheGatewayShowsTheCanaryItsName(t *testing.T) {
	hop, canary := netip.MustParseAddrPort("198.18.60.9:1080"), netip.MustParseAddrPort("203.0.113.20:443")
	shown := func(to netip.AddrPort) Sighting {
		return Sighting{What: "label", Form: "sni", Label: "aaaaaaaaaaaaaaaaaaaa", To: to}
	}
	question := shown(canary)
	question.Form = "wire"
	other := shown(canary)
	other.Label = "bbbbbbbbbbbbbbbbbbbb"
	behind := Channel{Name: "out", Hops: []string{"socks5://198.18.60.9:1080"}, Peers: []netip.AddrPort{hop}}
	for _, one := range []struct {
		what string
		c    Channel
		s    Sighting
		want Verdict
	}{
		{"to the canary", Channel{Name: "out"}, shown(canary), Sealed},
		{"to another port", Channel{Name: "out"}, shown(hop), Leak},
		{"to the hop", behind, shown(hop), Sealed},
		{"past the hop", behind, shown(canary), Leak},
		{"where the hop is known by its name", Channel{Name: "out", Hops: behind.Hops}, shown(canary), Inconclusive},
		{"as a question in clear", Channel{Name: "out"}, question, Leak},
		{"another name", Channel{Name: "out"}, other, Leak},
	} {
		r, f := &run{api: &api{port: 443}, known: map[string]*ours{"out": {channel: one.c}}, shown: map[string]string{shown(hop).Label: "out"}}, &findings{}
		r.judgePacket(one.s, f)
		if got := f.conclude(definition{}); got.Verdict != one.want {
			t.Errorf("%s: %s, want %s", one.what, got.Verdict, one.want)
		}
	}
}

func TestOnlyKnownCasesAreTried(t *testing.T) {
	r := newWorld(t).run(func(o *Options) { o.Only = []string{"TRAP", "PLAIN-DNS"} })
	if len(r.Cases) != 2 || r.Verdict != Sealed || !slices.Equal(r.Environment.Only, []string{"TRAP", "PLAIN-DNS"}) {
		t.Errorf("%s with %d cases, only %v", r.Verdict, len(r.Cases), r.Environment.Only)
	}
	if _, err := Run(t.Context(), Options{Subject: newWorld(t), Limit: time.Minute, Only: []string{"NOTHING"}}); err == nil || !strings.Contains(err.Error(), "NAME-BY-DOOR") {
		t.Errorf("an unknown case: %v", err)
	}
}

// TestNothingOfARunLinksItToAnother: no label is used twice, and each has chance alone in it.
func TestNothingOfARunLinksItToAnother(t *testing.T) {
	used := map[string]bool{}
	for range 2 {
		w := newWorld(t)
		w.run()
		for label := range w.log {
			if used[label] || !visit.IsLabel(label) {
				t.Errorf("%s is used again, or is no label of chance", label)
			}
			used[label] = true
		}
	}
}

// TestAReportIsSafeToShow: what others say reaches no terminal and no page as anything but text.
func TestAReportIsSafeToShow(t *testing.T) {
	const evil = "\x1b[2J<script>alert(1)</script>]]>"
	r := &Report{
		Verdict: Leak, Cases: []Case{{ID: "TRAP", Title: "t", Verdict: Leak, Cause: "A2", Evidence: []string{evil}, Reason: evil, Fix: evil}, {ID: "X", Verdict: Skipped, Needed: true, Reason: evil}},
		Environment: Environment{Version: evil, Channels: []Path{{Channel: evil, Hops: []string{evil}, Resolvers: []string{evil}, Asked: []string{evil}, Exit: evil}}, Watched: []string{evil}},
	}
	var text, page, junit bytes.Buffer
	if err := r.WriteText(&text, true); err != nil || strings.ContainsRune(text.String(), 0x1b) {
		t.Errorf("the text has an escape (%v)", err)
	}
	if err := r.WriteHTML(&page); err != nil || strings.Contains(page.String(), "<script") {
		t.Errorf("the page has a script (%v)", err)
	}
	for _, outside := range []string{"src=", "href=", "url(", "@import"} {
		if strings.Contains(page.String(), outside) {
			t.Errorf("the page needs something from elsewhere: %s", outside)
		}
	}
	if err := r.WriteJUnit(&junit); err != nil {
		t.Error(err)
	}
	var suite junitSuite
	if err := xml.Unmarshal(junit.Bytes(), &suite); err != nil || suite.Failures != 1 || suite.Errors != 1 {
		t.Errorf("%d failures and %d errors (%v), want one of each:\n%s", suite.Failures, suite.Errors, err, junit.String())
	}
}

func TestAReportIsJSONAsDocumented(t *testing.T) {
	b, err := json.Marshal(newWorld(t).run())
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]any
	if err := json.Unmarshal(b, &top); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"verdict", "cases", "environment", "started", "took_ms"} {
		if _, ok := top[key]; !ok {
			t.Errorf("the report has no %s", key)
		}
	}
	for _, key := range []string{"id", "title", "verdict", "cause", "evidence", "fix"} {
		if _, ok := top["cases"].([]any)[0].(map[string]any)[key]; !ok {
			t.Errorf("a case has no %s", key)
		}
	}
}
