package route

import (
	"net/netip"
	"slices"
	"testing"

	"watertight/channel"
	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

func TestWhatIsClosedRefusesWhateverThePolicyAllows_AndAsksByTheNames(t *testing.T) {
	every, err := ParsePattern("*")
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	shut := fault.New(fault.NotReady, "closed", nil)
	through := new(channel.Channel)
	table, err := New(Spec{
		Rules: []Rule{{To: []Pattern{every}, Channel: through}}, Policy: Sealed(), Sink: event.Discard{},
		Closed: func(names func() []string) error {
			asked = append(asked, names()...)
			if slices.Contains(asked, "open.example") {
				return nil
			}
			return shut
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	from := netip.MustParseAddrPort("192.0.2.7:5353")
	for target, want := range map[string]fault.Code{
		"1.1.1.99:443":        fault.NotReady,
		"1.1.1.99:53":         fault.PolicyForeignResolver, // the policy comes first: a test tells the two apart
		"10.0.0.1:443":        fault.PolicyPrivateTarget,
		"api.example.com:80":  fault.PolicyPlainHTTP,
		"api.example.com:853": fault.PolicyForeignResolver,
	} {
		r := Request{Door: event.DoorCONNECT, Client: from, Target: name.Must(target)}
		for _, tab := range []*Table{table, table.Through(through)} {
			if _, err := tab.Dial(t.Context(), r); fault.Of(err).Code != want {
				t.Errorf("%s: %v, want %s", target, err, want)
			}
			if _, err := tab.DialIn(t.Context(), through, r); fault.Of(err).Code != want {
				t.Errorf("%s in a channel: %v, want %s", target, err, want)
			}
			if _, err := tab.DialPacket(t.Context(), r); fault.Of(err).Code != want {
				t.Errorf("datagrams to %s: %v, want %s", target, err, want)
			}
		}
	}
	if _, d := table.decideQuestion(from, dnswire.Question{Type: dnswire.SOA}); fault.Of(d.refusal).Code != fault.NotReady {
		t.Errorf("a question about no host: %v", d.refusal)
	}
	if len(asked) != 0 {
		t.Errorf("addresses that were given out for no name have %q", asked)
	}
	if _, d := table.decideQuestion(from, dnswire.Question{Name: "open.example", Type: dnswire.A}); d.refusal != nil {
		t.Errorf("what may go out: %v", d.refusal)
	}
}
