package credential

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"watertight/client"
)

var seed = []byte("a secret of the channel")

func mustParse(t testing.TB, user, password string) Template {
	t.Helper()
	tmpl, err := Parse(user, password)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func identity(t testing.TB, username string) client.Identity {
	t.Helper()
	id, err := client.Parse(username)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAPartWhoseLabelIsAbsentIsLeftOutWhole(t *testing.T) {
	tmpl := mustParse(t, "acme-{user}[-cc-{country}[-in-{city}]][-sid-{session}[-for-{ttl}]]", "p%40ss[_{state}]")
	for username, want := range map[string]Filled{
		"alice":                                  {"acme-alice", "p@ss"},
		"alice-country-us":                       {"acme-alice-cc-us", "p@ss"},
		"alice-country-us-city-new_york":         {"acme-alice-cc-us-in-new_york", "p@ss"},
		"alice-session-k3v9":                     {"acme-alice-sid-k3v9", "p@ss"},
		"alice-session-k3v9-ttl-10m-state-texas": {"acme-alice-sid-k3v9-for-10m", "p@ss_texas"},
	} {
		if got, err := tmpl.Fill(identity(t, username), seed); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", username, got, err, want)
		}
	}
}

func TestNoLabelIsDroppedInSilence(t *testing.T) {
	tmpl := mustParse(t, "acme[-cc-{country}[-in-{city}]][-sid-{session}[-for-{ttl}]]", "")
	for _, username := range []string{"alice-city-paris", "alice-ttl-10m", "alice-country-france", "alice-country-fr-city-a.b", "alice-session-1-ttl-soon"} {
		if got, err := tmpl.Fill(identity(t, username), seed); !errors.Is(err, ErrFill) {
			t.Errorf("%s: %v, %v", username, got, err)
		} else if strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(), "acme") {
			t.Errorf("%s: the error shows a credential: %v", username, err)
		}
	}
	if _, err := mustParse(t, "acme-{country}", "").Fill(client.Identity{}, seed); !errors.Is(err, ErrFill) {
		t.Errorf("a place that has to be filled was left empty: %v", err)
	}
	if _, err := mustParse(t, "{user}", "p").Fill(client.Identity{}, seed); !errors.Is(err, ErrFill) {
		t.Errorf("a client without a name was given one: %v", err)
	}
}

func TestTemplatesThatCannotBeReadAreRefused(t *testing.T) {
	for _, bad := range []string{
		"acme", "a{sesion}", "a{session", "a[{session}", "a{session}]", "[acme]{session}", "a{session}b}", "a{session}%zz", "{pass}", "a{session}%0a",
		"{session}" + strings.Repeat("[", 9) + "{ttl}" + strings.Repeat("]", 9), "{session}" + strings.Repeat("a", MaxTemplate),
	} {
		if _, err := Parse(bad, "hunter2"); !errors.Is(err, ErrTemplate) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "acme") {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
	for text, want := range map[string]bool{"a{b}": true, "{session}": true, "a{b": false, "a}": false, "{}": false, "{1}": false, "%7Bsession%7D": false} {
		if IsTemplate(text) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

func TestWhatIsMeantAsItIsIsWrittenInPercentForm(t *testing.T) {
	got, err := mustParse(t, "a%7Bb%7D%5B%5D-{session}", "").Fill(client.Identity{Session: "s1"}, seed)
	if err != nil || got.User != "a{b}[]-s1" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestTwoIdentitiesNeverComeOutAsOneSession(t *testing.T) {
	names := []string{
		"alice-session-1", "bob-session-1", "alice-session-2", "alice-session-1-country-de", "alice-session-1-country-us",
		"alice-session-abcd1234", "bob-session-abcd1234", "alice-session-a_b", "alice-session-a.b", "alice-session-" + strings.Repeat("x", 60),
	}
	for _, provider := range Providers() {
		tmpl, err := ForAccount(provider, map[bool]string{true: "package", false: "acme"}[provider == "soax"], "hunter2")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for _, username := range names {
			id := identity(t, username)
			if id.Country == "" {
				id.Country = "fr"
			}
			got, err := tmpl.Fill(id, seed)
			if err != nil {
				t.Errorf("%s, %s: %v", provider, username, err)
				continue
			}
			said := sessionIn(t, got)
			if other, twice := seen[said]; twice {
				t.Errorf("%s: %s and %s have the session %q", provider, username, other, said)
			}
			seen[said] = username
			if g := providers[provider]; len(said) < g.min || len(said) > g.max || !onlyOf(said, g.alphabet) {
				t.Errorf("%s, %s: the session %q is not of its grammar", provider, username, said)
			}
			if again, err := tmpl.Fill(id, []byte("after a restart")); err != nil || again != got {
				t.Errorf("%s: %q became %q", provider, got, again)
			}
		}
	}
}

func TestTwoIdentitiesNeverComeOutAsOneWhereAPartCouldEndInTwoPlaces(t *testing.T) {
	for _, c := range []struct{ user, one, two string }{
		{"acme-{user}_{session}", "a_b-session-c", "a-session-b_c"},
		{"{user}{session}", "ab-session-c", "a-session-bc"},
		{"{session}.{user}", "b.c-session-a", "c-session-a.b"},
		{"{user}-s.{session}_{country}", "a-session-b-country-de", "a-session-b_de-country-de"},
		{"{user}[-{city}]-{session}", "a-b-session-c", "a-city-b-session-c"},
	} {
		tmpl := mustParse(t, c.user, "p")
		one, err := tmpl.Fill(identity(t, c.one), seed)
		two, err2 := tmpl.Fill(identity(t, c.two), seed)
		if err != nil || err2 != nil || one == two {
			t.Errorf("%s: %s is %q, %v, and %s is %q, %v", c.user, c.one, one.User, err, c.two, two.User, err2)
		}
	}
}

// sessionIn finds the session in what was filled in.
func sessionIn(t *testing.T, f Filled) string {
	t.Helper()
	for _, text := range []string{f.User, f.Password} {
		for _, key := range []string{"-session-", "-sessid-", "_session-"} {
			if _, after, ok := strings.Cut(text, key); ok {
				said, _, _ := strings.Cut(after, "-")
				return said
			}
		}
	}
	t.Fatalf("no session in %v", f)
	return ""
}

func TestASessionIsKeptAsItWasWrittenWhereNobodyElseCanHaveIt(t *testing.T) {
	for _, c := range []struct {
		user string
		id   client.Identity
		want string
		more int // letters after it
	}{
		{"acme-{user}-{session}", client.Identity{User: "alice", Session: "k3v9"}, "acme-alice-k3v9", 0},
		{"acme-{session}", client.Identity{Session: "shop"}, "acme-shop", 0},
		{"acme-{session}", client.Identity{User: "alice", Session: "k3v9"}, "acme-k3v9", tagLength},
	} {
		got, err := mustParse(t, c.user, "p").Fill(c.id, seed)
		if err != nil || !strings.HasPrefix(got.User, c.want) || len(got.User) != len(c.want)+c.more {
			t.Errorf("%s, %+v: %v, %v", c.user, c.id, got, err)
		}
	}
}

func TestASessionIsMadeOnlyWhereTheTemplateNeedsOne(t *testing.T) {
	needs, may := mustParse(t, "acme-{session}", "p"), mustParse(t, "acme[-{session}]{ttl}", "p")
	one, err := needs.Fill(client.Identity{User: "alice"}, seed)
	two, err2 := needs.Fill(client.Identity{User: "bob"}, seed)
	again, _ := needs.Fill(client.Identity{User: "alice"}, seed)
	other, _ := needs.Fill(client.Identity{User: "alice"}, []byte("of another channel"))
	if err != nil || err2 != nil || one == two || one != again || one == other || len(one.User) != len("acme-")+hashLength {
		t.Errorf("%v, %v, %v, %v (%v, %v)", one, two, again, other, err, err2)
	}
	if got, err := may.Fill(client.Identity{TTL: "5"}, seed); err != nil || got.User != "acme5" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestATemplatePrintsNoCredential(t *testing.T) {
	account, err := ForAccount("oxylabs", "acme", "hunter2")
	if err != nil {
		t.Fatal(err)
	}
	for _, tmpl := range []Template{account, mustParse(t, "acme-{session}", "hunter2")} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			if s := fmt.Sprintf(verb, tmpl); strings.Contains(s, "hunter2") || strings.Contains(s, "acme") {
				t.Errorf("%s prints %s", verb, s)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("acme[-cc-{country}][-sid-{session}[-for-{ttl}]]", "p%40", "alice-country-us-session-k3v9-ttl-10m")
	f.Fuzz(func(t *testing.T, user, password, username string) {
		tmpl, err := Parse(user, password)
		if err != nil {
			return
		}
		id, err := client.Parse(username)
		if err != nil {
			return
		}
		got, err := tmpl.Fill(id, seed)
		if err == nil && strings.ContainsFunc(got.User+got.Password, control) {
			t.Errorf("%q", got)
		}
	})
}
