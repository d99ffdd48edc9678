package route

import (
	"net/netip"
	"testing"

	"watertight/channel"
	"watertight/client"
	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
)

func TestAQuestionAboutNoHostTakesTheRuleForEverythingOfAClientWithoutAName(t *testing.T) {
	every := []Pattern{{text: "*", every: true}}
	team, err := ParseUser("team-*")
	if err != nil {
		t.Fatal(err)
	}
	teams, all := &channel.Channel{}, &channel.Channel{}
	forTeams := Rule{To: every, Users: []UserPattern{team}, Channel: teams}
	from := netip.MustParseAddrPort("127.0.0.1:50000")
	root := dnswire.Question{Name: ".", Type: 2}
	table := func(rules ...Rule) *Table {
		table, err := New(Spec{Rules: rules, Policy: Sealed(), Sink: event.Discard{}})
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	_, d := table(forTeams, Rule{To: every, Channel: all, Labels: Labels{Country: "de"}}).decideQuestion(from, root)
	if d.refusal != nil || d.channel != all || d.part != all.For(client.Identity{Country: "de"}, from.Addr()) {
		t.Errorf("it took the channel of a team: %v, or no label, %v", d.channel == teams, d.refusal)
	}
	if _, d := table(forTeams).decideQuestion(from, root); d.refusal == nil || fault.Of(d.refusal).Code != fault.PolicyRoute || d.channel != nil {
		t.Errorf("with a rule for a team alone: %v", d.refusal)
	}
	if _, d := table(Rule{To: every, Users: []UserPattern{team}, Refuse: true}, Rule{To: every, Channel: all}).decideQuestion(from, root); d.refusal != nil || d.channel != all {
		t.Errorf("what is refused to a team: %v", d.refusal)
	}
}
