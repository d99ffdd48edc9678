package credential

import (
	"errors"
	"testing"

	"watertight/client"
)

// TestATestOfTheProgramIsNotItsUser: to nobody else, and in no session of his.
func TestATestOfTheProgramIsNotItsUser(t *testing.T) {
	seed := []byte("0123456789abcdef0123456789abcdef")
	alice := client.Identity{User: "alice", Session: "k3v9"}
	trial := alice
	trial.Trial = "3f2a"
	if f, err := mustParse(t, "acme-{user}-{session}", "p").Fill(trial, seed); !errors.Is(err, ErrFill) {
		t.Errorf("a provider is told of the user: %q, %v", f.User, err)
	}
	for _, text := range []string{"acme-{session}", "acme-sid-{session}-x"} {
		for _, id := range []client.Identity{alice, {User: "alice"}} {
			tmpl := mustParse(t, text, "p")
			own, err := tmpl.Fill(id, seed)
			if err != nil {
				t.Fatal(err)
			}
			id.Trial = "3f2a"
			tried, err := tmpl.Fill(id, seed)
			if err != nil || tried == own {
				t.Errorf("%s: it is in the user's session %q: %q, %v", text, own.User, tried.User, err)
			}
		}
	}
}
