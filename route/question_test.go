package route

import (
	"net/netip"
	"testing"

	"watertight/channel"
	"watertight/client"
	"watertight/dnswire"
	"watertight/event"
)

func TestAQuestionIsAboutTheHostThatAConnectionWouldGoTo(t *testing.T) {
	for qname, want := range map[string]string{
		"www.shop.example":              "www.shop.example",
		"_443._tcp.www.shop.example":    "www.shop.example",
		"_dmarc.shop.example":           "shop.example",
		"a._x.shop.example":             "a._x.shop.example",
		"1.2.0.192.in-addr.arpa":        "192.0.2.1",
		"2.0.192.in-addr.arpa":          "2.0.192.in-addr.arpa",
		"":                              "",
		"_tcp":                          "",
		"192.0.2.1":                     "",
		"not a host.example":            "",
		"example":                       "example",
		"xn--bcher-kva.example":         "xn--bcher-kva.example",
		"_a._b._c._d.deep.shop.example": "deep.shop.example",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": "2001:db8::1",
	} {
		h, ok := subjectOf(qname)
		if ok != (want != "") || ok && h.String() != want {
			t.Errorf("%q is about %q (%v), want %q", qname, h, ok, want)
		}
	}
}

func TestAQuestionAboutNoHostTakesTheRouteForEverythingOfThoseWithoutAName(t *testing.T) {
	every, err := ParsePattern("*")
	alice, err2 := ParseUser("alice")
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	hers, others := new(channel.Channel), new(channel.Channel)
	asker := netip.MustParseAddrPort("192.0.2.7:5353")
	for _, rules := range [][]Rule{
		{{To: []Pattern{every}, Users: []UserPattern{alice}, Channel: hers}, {To: []Pattern{every}, Channel: others, Labels: Labels{Country: "de"}}},
		{{To: []Pattern{every}, Users: []UserPattern{alice}, Refuse: true}, {To: []Pattern{every}, Channel: others, Labels: Labels{Country: "de"}}},
	} {
		table, err := New(Spec{Rules: rules, Policy: Sealed(), Sink: event.Discard{}})
		if err != nil {
			t.Fatal(err)
		}
		_, d := table.decideQuestion(asker, dnswire.Question{Type: dnswire.SOA})
		if d.channel != others || d.refusal != nil {
			t.Errorf("a question of nobody took the route of alice: %v", d.refusal)
		} else if d.part != others.For(client.Identity{Country: "de"}, asker.Addr()) {
			t.Error("the labels of its route were dropped")
		}
	}
	table, err := New(Spec{Rules: []Rule{{To: []Pattern{every}, Users: []UserPattern{alice}, Channel: hers}}, Policy: Sealed(), Sink: event.Discard{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, d := table.decideQuestion(asker, dnswire.Question{Type: dnswire.SOA}); d.refusal == nil {
		t.Error("a question of nobody took the route of alice, the only one")
	}
}
