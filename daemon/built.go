package daemon

import (
	"regexp"
	"runtime/debug"
	"sync"
	"time"
)

// released is a day on which this program was worked on: no clock is right that says less. Each release moves it on. It
// is all that a build knows that knew neither its commit nor its version.
var released = time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC)

// built is a time that has passed for certain: that of the commit which the program was built from, where the build
// knew it, from the repository or from the version of the module.
var built = sync.OnceValue(func() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return released
	}
	return builtFrom(info)
})

// pseudo is the time in the version of a module that has no tag: of the commit, in UTC (https://go.dev/ref/mod#pseudo-versions).
var pseudo = regexp.MustCompile(`[-.](\d{14})-[0-9a-f]{12}(\+.*)?$`)

func builtFrom(info *debug.BuildInfo) time.Time {
	latest := released
	take := func(t time.Time, err error) {
		if err == nil && t.After(latest) {
			latest = t
		}
	}
	if m := pseudo.FindStringSubmatch(info.Main.Version); m != nil {
		take(time.Parse("20060102150405", m[1]))
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			take(time.Parse(time.RFC3339, s.Value))
		}
	}
	return latest
}
