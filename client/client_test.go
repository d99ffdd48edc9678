package client

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestANameIsAUserAndItsLabels(t *testing.T) {
	for name, want := range map[string]Identity{
		"":                           {},
		"alice":                      {User: "alice"},
		"team-a":                     {User: "team-a"},
		"alice-session-k3v9":         {User: "alice", Session: "k3v9"},
		"alice-country-US-session-1": {User: "alice", Country: "us", Session: "1"},
		"team-a-state-texas-city-new_york-ttl-10m": {User: "team-a", State: "texas", City: "new_york", TTL: "10m"},
		"session-1":       {User: "session-1"},       // a user is called that, and no label stands without one
		"country-session": {User: "country-session"}, // the same
		"alice-session":   {User: "alice-session"},
	} {
		got, err := Parse(name)
		if err != nil || got != want {
			t.Errorf("%q: %#v, %v", name, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q: written as %q, and read as %#v, %v", name, got.String(), again, err)
		}
	}
}

func TestANameThatCouldBeReadInTwoWaysIsRefused(t *testing.T) {
	for name, want := range map[string]error{
		"alice-session-a-session-b":            ErrLabel,
		"alice-session-a-b":                    ErrLabel,
		"alice-session-a-country":              ErrLabel,
		"alice-session-":                       ErrLabel,
		"alice bob":                            ErrUsername,
		"alice%40":                             ErrUsername,
		"ünal":                                 ErrUsername,
		strings.Repeat("a", MaxUser+1):         ErrUsername,
		strings.Repeat("a", MaxUsername+1):     ErrUsername,
		"a-session-" + strings.Repeat("b", 65): ErrLabel,
	} {
		if got, err := Parse(name); !errors.Is(err, want) || !got.IsZero() {
			t.Errorf("%q: %#v, %v", name, got, err)
		} else if strings.Contains(err.Error(), "alice") {
			t.Errorf("%q: the error shows the name: %v", name, err)
		}
	}
}

func TestAnIdentityIsHiddenFromLogs(t *testing.T) {
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "client", Identity{User: "alice", Session: "k3v9"})
	if strings.Contains(b.String(), "alice") || strings.Contains(b.String(), "k3v9") {
		t.Error(b.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add("alice-country-us-session-k3v9")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(i.String()); err != nil || again != i {
			t.Errorf("%q: written as %q, and read as %#v, %v", s, i.String(), again, err)
		}
	})
}
