package credential

import "testing"

func TestTemplatesOfOneFormAskForTheSame(t *testing.T) {
	form := func(user, password string) string { return mustParse(t, user, password).Form() }
	if a, b := form("acme[-cc-{country}]-{session}", "hunter2"), form("other[_{country}]{session}", "x"); a != b {
		t.Errorf("%s and %s", a, b)
	}
	for _, one := range []string{form("a[{country}{session}]", ""), form("a{country}-{session}", ""), form("a[{country}]", "{session}")} {
		if one == form("a[{country}]{session}", "") {
			t.Errorf("%s is what asks for something else", one)
		}
	}
	if a, b := account(t, "oxylabs"), account(t, "iproyal"); a.Form() == b.Form() {
		t.Error("two providers ask for the same")
	}
}
