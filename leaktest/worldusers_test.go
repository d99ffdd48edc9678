package leaktest

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
)

// asUser is what a request of a world has the channel by that is taken for a user.
type asUser struct{}

// Users are those with routes of their own.
func (w *world) Users() []User { return w.users }

// LeadsAs is the channel that they say.
func (w *world) LeadsAs(user, _ string) (string, error) { return w.leadsAs(user) }

// routed gives a world a route for a user that says a channel, and has the mixed port take one.
func routed(says, takes string) func(w *world) {
	return func(w *world) {
		w.users = []User{{"alice", "route 1"}, {"team-a", "route 2"}}
		w.leadsAs = func(user string) (string, error) {
			if user == "alice" {
				return says, nil
			}
			return "", errors.New("no route leads there")
		}
		w.changeDoors = func(all []Door) []Door {
			all[0].As = func(user string) (Door, error) {
				if user != "alice" {
					return Door{}, errors.New("who is that")
				}
				as := all[0]
				as.Relay = nil
				as.Dial = func(ctx context.Context, _ ...string) (net.Conn, error) {
					return w.dialDoor(context.WithValue(ctx, asUser{}, takes))
				}
				return as, nil
			}
			return all
		}
	}
}

// leakyUsers are worlds in which what a user asks for leaks.
func leakyUsers() []seeded {
	return []seeded{
		{name: "a user's name takes the channel of who has none", id: "NAME-BY-USER", cause: "D5", says: "the resolver of the channel direct", seed: routed("out", "direct")},
		{name: "who has no name goes out, and a user's route to the same takes another", id: "NAME-BY-USER", cause: "D5", says: "as a user of route 1", seed: routed("direct", "out")},
		{name: "a user's name is resolved by another", id: "NAME-BY-USER", cause: "D4", says: "as a user of route 1", seed: func(w *world) {
			routed("out", "out")(w)
			asksBy("as SOCKS5", stranger)(w)
		}},
		{name: "a user's channel has its names resolved at this host", id: "NAME-BY-USER", cause: "D5", says: "this host's own address", seed: func(w *world) {
			routed("out", "out")(w)
			asksBy("as HTTP CONNECT", home)(w)
		}},
	}
}

// sealedUsers are worlds with routes of users by which nothing leaks.
func sealedUsers() []seeded {
	return []seeded{
		{name: "a user has a route of his own", seed: routed("out", "out")},
		{name: "a user has a route to another channel", seed: func(w *world) {
			routed("direct", "direct")(w)
			w.exitOf["direct"] = home
		}},
		{name: "the routes of users do not take names of the canary", seed: func(w *world) {
			routed("out", "out")(w)
			w.leadsAs = func(string) (string, error) { return "", errors.New("no route leads there") }
		}},
	}
}

// TestUsers_AreNotNamedInAReport: it may be shown to others.
func TestUsers_AreNotNamedInAReport(t *testing.T) {
	w := newWorld(t)
	routed("out", "out")(w)
	c, _ := w.run(only("NAME-BY-USER")).Find("NAME-BY-USER")
	said := strings.Join(c.Evidence, "\n")
	if c.Verdict != Sealed || !c.Needed || strings.Contains(said, "alice") || !strings.Contains(said, "not tried: route 2, for names of the canary: no route leads there") {
		t.Errorf("it is %s, needed: %v:\n%s", c.Verdict, c.Needed, said)
	}
}
