package doctor_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"watertight/doctor"
)

const clones = `
-- etc/passwd --
ann:x:1000:1000::/srv/ann:/bin/bash
bob:x:1001:1001::/srv/bob:/bin/bash
-- srv/ann/.git/config --
x
-- srv/ann/.cache/a/.git/config --
x
-- srv/ann/src/api/.git/config --
x
-- srv/ann/src/api/vendor/.git/config --
x
-- srv/ann/src/go/deep/below/.git/config --
x
-- srv/ann/src/file/.git --
gitdir: elsewhere
-- srv/ann/work -> /srv/data --
-- srv/ann/again -> src --
-- srv/ann/src/loop -> .. --
-- srv/data/big/.git/config --
x
-- srv/bob/www/.git/config --
x
`

func paths(all []doctor.Clone) []string {
	var found []string
	for _, c := range all {
		found = append(found, c.Home.User+" "+c.Config.Path)
	}
	return found
}

func TestClones_areThoseOfThreeLevelsOfEachHomeOnce(t *testing.T) {
	h := seeded(t, clones)
	got := paths(h.Clones())
	for _, want := range []string{"ann /srv/ann/.git/config", "ann /srv/ann/.cache/a/.git/config", "ann /srv/ann/src/api/vendor/.git/config", "ann /srv/ann/work/big/.git/config", "bob /srv/bob/www/.git/config"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
	api := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return !strings.HasSuffix(s, "/api/.git/config") })
	if len(api) != 1 || len(got) != 6 {
		t.Errorf("%q", got)
	}
	if again := paths(h.Clones()); !slices.Equal(got, again) {
		t.Errorf("the second time: %q", again)
	}
	if blind := h.Files.Blind(); len(blind) > 0 {
		t.Errorf("%q", blind)
	}
}

func TestClones_beyondALimitAreSaidNotToBeSeen(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for what, search := range map[string]func(*doctor.Host) []doctor.Clone{
		"time": func(h *doctor.Host) []doctor.Clone { return h.SearchClones(ended, 1000) },
		// The two homes, .cache behind the others of its level, and so nothing of what is in it.
		"directories": func(h *doctor.Host) []doctor.Clone { return h.SearchClones(t.Context(), 5) },
	} {
		h := seeded(t, clones)
		got := paths(search(h))
		if blind := h.Files.Blind(); len(blind) != 1 || !strings.HasPrefix(blind[0], "clones of git: homes have more directories than") {
			t.Errorf("%s: %q", what, blind)
		}
		if what == "time" && len(got) > 0 || what == "directories" && !slices.Equal(got, []string{"ann /srv/ann/.git/config", "bob /srv/bob/www/.git/config"}) {
			t.Errorf("%s: %q", what, got)
		}
	}
}
