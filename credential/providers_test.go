package credential

import (
	"errors"
	"strings"
	"testing"
)

// full is what each provider's documentation shows, with every label that it has a place for.
var full = map[string]struct{ username, user, password string }{
	"brightdata":  {"x-country-US-state-ny-city-newyork-session-k3v9", "acme-country-us-state-ny-city-newyork-session-k3v9*", "hunter2"},
	"geonode":     {"x-country-US-session-k3v9-ttl-10m", "acme-country-us-session-k3v9*-lifetime-10", "hunter2"},
	"helodata":    {"x-country-US-session-k3v9-ttl-10m", "helo_acme-region-us-session-k3v9*-sesstime-10", "hunter2"},
	"iproyal":     {"x-country-BR-session-k3v9-ttl-10m", "acme", "hunter2_country-br_session-*_lifetime-10m"},
	"massive":     {"x-country-us-city-paris-session-k3v9-ttl-4h", "acme-country-US-city-paris-session-k3v9*-sessionttl-240", "hunter2"},
	"oxylabs":     {"x-country-de-session-k3v9-ttl-10m", "customer-acme-cc-DE-sessid-k3v9*-sesstime-10", "hunter2"},
	"pingnetwork": {"x-country-us-session-k3v9-ttl-60", "acme-cc-US-session-k3v9*-lifetime-60", "hunter2"},
	"soax":        {"x-country-US-session-k3v9", "country-us-session-k3v9*", "hunter2"},
	"thordata":    {"x-country-AU-state-victoria-city-melbourne-session-k3v9-ttl-90", "td-customer-acme-country-au-state-victoria-city-melbourne-sessid-k3v9*-sesstime-90", "hunter2"},
}

func account(t *testing.T, provider string) Template {
	t.Helper()
	user := "acme"
	if provider == "soax" {
		user = "package"
	}
	tmpl, err := ForAccount(provider, user, "hunter2")
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

// looks says whether a text is a pattern with a star for eight letters.
func looks(text, pattern string) bool {
	before, after, starred := strings.Cut(pattern, "*")
	if !starred {
		return text == pattern
	}
	return len(text) == len(before)+tagLength+len(after) && strings.HasPrefix(text, before) && strings.HasSuffix(text, after)
}

func TestEachProviderIsAskedInItsOwnGrammar(t *testing.T) {
	for _, provider := range Providers() {
		want, ok := full[provider]
		if !ok {
			t.Errorf("%s is not in the table", provider)
			continue
		}
		got, err := account(t, provider).Fill(identity(t, want.username), seed)
		if err != nil || !looks(got.User, want.user) || !looks(got.Password, want.password) {
			t.Errorf("%s: %s and %s, %v; want %s and %s", provider, got.User, got.Password, err, want.user, want.password)
		}
	}
}

func TestATimeThatAProviderDoesNotTakeIsRefused(t *testing.T) {
	for provider, bad := range map[string][]string{
		"oxylabs": {"31m", "1h", "30s", "90s"}, "geonode": {"2m", "25h", "2d"}, "iproyal": {"8d"}, "thordata": {"91"}, "pingnetwork": {"121m"}, "massive": {"5h"},
	} {
		for _, ttl := range bad {
			if got, err := account(t, provider).Fill(identity(t, "alice-session-k3v9-ttl-"+ttl), seed); !errors.Is(err, ErrFill) {
				t.Errorf("%s, %s: %v, %v", provider, ttl, got, err)
			}
		}
	}
	for ttl, want := range map[string]string{"90s": "90s", "60": "1h", "1440m": "1d", "10m": "10m"} {
		if got, err := account(t, "iproyal").Fill(identity(t, "alice-session-k3v9-ttl-"+ttl), seed); err != nil || !strings.HasSuffix(got.Password, "_lifetime-"+want) {
			t.Errorf("%s: %v, %v", ttl, got, err)
		}
	}
}

func TestAnAccountThatDoesNotFitItsTemplateIsRefused(t *testing.T) {
	for _, c := range []struct {
		provider, user, password string
		want                     error
	}{
		{"oxylab", "acme", "hunter2", ErrProvider},
		{"", "acme", "hunter2", ErrProvider},
		{"oxylabs", "customer-acme", "hunter2", ErrTemplate},
		{"oxylabs", "", "hunter2", ErrTemplate},
		{"oxylabs", "acme", "", ErrTemplate},
		{"oxylabs", "acme\n", "hunter2", ErrTemplate},
		{"iproyal", "acme", "hunter2_country-de", ErrTemplate},
		{"soax", "acme", "hunter2", ErrTemplate},
	} {
		_, err := ForAccount(c.provider, c.user, c.password)
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "acme") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestALifetimeHasLimits(t *testing.T) {
	for _, bad := range []string{"", "m", "0", "-1", "+1", "1.5h", "1w", "32d", "1048575d", "99999999999999999999", "1h30m"} {
		if d, err := Lifetime(bad); err == nil {
			t.Errorf("%q is %v", bad, d)
		}
	}
}
