package route

import (
	"errors"
	"testing"

	"watertight/client"
	"watertight/fault"
)

func TestARouteGivesItsLabelsAndRefusesOthers(t *testing.T) {
	alice := client.Identity{User: "alice"}
	for _, c := range []struct {
		rule Labels
		id   client.Identity
		want client.Identity
		ok   bool
	}{
		{Labels{}, alice, alice, true},
		{Labels{Country: "de"}, alice, client.Identity{User: "alice", Country: "de"}, true},
		{Labels{Country: "de"}, client.Identity{User: "alice", Country: "de"}, client.Identity{User: "alice", Country: "de"}, true},
		{Labels{Country: "de"}, client.Identity{User: "alice", Country: "us"}, client.Identity{}, false},
		{Labels{Session: "shop"}, alice, client.Identity{User: "alice", Session: "shop"}, true},
		{Labels{Session: "shop"}, client.Identity{Session: "other"}, client.Identity{}, false},
		{Labels{PerRequest: true}, client.Identity{Session: "other"}, client.Identity{}, false},
	} {
		got, err := c.rule.of(c.id, true)
		var f *fault.Error
		if (err == nil) != c.ok || c.ok && got != c.want || !c.ok && (!errors.As(err, &f) || f.Code != fault.PolicyRoute) {
			t.Errorf("%+v of %#v: %#v, %v", c.rule, c.id, got, err)
		}
	}
}

func TestPerRequestGivesEachConnectionASessionOfItsOwn(t *testing.T) {
	l := Labels{PerRequest: true}
	one, err := l.of(client.Identity{User: "alice"}, true)
	two, err2 := l.of(client.Identity{User: "alice"}, true)
	if err != nil || err2 != nil || one == two || len(one.Session) != sessionLength {
		t.Errorf("%#v, %#v", one, two)
	}
	if again, err := client.Parse(one.String()); err != nil || again != one {
		t.Errorf("%s is no name: %v", one.Session, err)
	}
	if q, err := l.of(client.Identity{User: "alice"}, false); err != nil || q.Session != "" {
		t.Errorf("a question: %#v, %v", q, err)
	}
}
