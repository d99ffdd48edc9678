package daemon

import (
	"runtime/debug"
	"sync"
	"time"
)

// released is when the trust anchors that package dnssec comes with were complete: no clock is right that says less.
var released = time.Date(2025, time.January, 11, 0, 0, 0, 0, time.UTC)

// built is a time that has passed for certain: that of the commit which the program was built from, where the build
// knew it.
var built = sync.OnceValue(func() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return released
	}
	return builtFrom(info.Settings)
})

func builtFrom(settings []debug.BuildSetting) time.Time {
	for _, s := range settings {
		if s.Key != "vcs.time" {
			continue
		}
		if t, err := time.Parse(time.RFC3339, s.Value); err == nil && t.After(released) {
			return t
		}
	}
	return released
}
