package route

import "testing"

func TestAPatternOfUsersIsAUserOrTheBeginningOfSome(t *testing.T) {
	for text, users := range map[string]map[string]bool{
		"alice":  {"alice": true, "alice2": false, "": false, "Alice": false},
		"team-*": {"team-a": true, "team-": true, "team": false, "": false, "xteam-a": false},
		"*":      {"alice": true, "": false},
	} {
		p, err := ParseUser(text)
		if err != nil || p.String() != text {
			t.Fatalf("%q: %q, %v", text, p, err)
		}
		for user, want := range users {
			if p.Match(user) != want {
				t.Errorf("%q matches %q: %v", text, user, !want)
			}
		}
	}
	for _, text := range []string{"", "al ice", "*a", "a*b", "**", "alice-session-1", "a%2F"} {
		if p, err := ParseUser(text); err == nil {
			t.Errorf("%q is taken as %q", text, p)
		}
	}
	if (UserPattern{}).Match("") || (UserPattern{}).Match("alice") {
		t.Error("the zero pattern is somebody")
	}
}

func TestCoversFindsUsersThatAreMeantAlready(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"alice", "alice", true},
		{"alice", "bob", false},
		{"alice", "alice*", false},
		{"team-*", "team-a", true},
		{"team-*", "team-a*", true},
		{"team-a*", "team-*", false},
		{"*", "alice", true},
		{"*", "team-*", true},
		{"alice", "*", false},
	} {
		p, err := ParseUser(c.p)
		q, err2 := ParseUser(c.q)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if p.Covers(q) != c.want {
			t.Errorf("%q covers %q: %v", c.p, c.q, !c.want)
		}
	}
}

func TestAnExampleOfAPatternIsOneOfItsUsers(t *testing.T) {
	for text, want := range map[string]string{"alice": "alice", "team-*": "team-x", "*": "x"} {
		p, err := ParseUser(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Example("x"); got != want || !p.Match(got) {
			t.Errorf("%q: %q", text, got)
		}
	}
}
