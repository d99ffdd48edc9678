// Package browser has the rules on browsers: flags of those that run, preferences of profiles, and policies.
//
// A browser with a proxy gives it the names of pages. What leaks is beside that: the server of a WebRTC call, the browser's
// own services, a proxy found by WPAD, a resolver of its own that falls back to clear text.
package browser

import (
	"path"
	"slices"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

// Rules gives the rules, in the order of their listing.
func Rules() []doctor.Rule {
	return []doctor.Rule{
		wpadOn,
		browserFlags,
		browserDoH,
	}
}

// chromiums are the directories of profiles within a home, of Chromium and its kin.
var chromiums = []string{
	".config/chromium", ".config/google-chrome", ".config/google-chrome-beta", ".config/BraveSoftware/Brave-Browser", ".config/microsoft-edge", ".config/vivaldi",
	"snap/chromium/common/chromium", ".var/app/org.chromium.Chromium/config/chromium", ".var/app/com.google.Chrome/config/google-chrome",
	"Library/Application Support/Google/Chrome", "Library/Application Support/Chromium",
	"AppData/Local/Google/Chrome/User Data", "AppData/Local/Chromium/User Data", "AppData/Local/Microsoft/Edge/User Data",
}

// chromiumPolicies are the files of policies, for all users.
var chromiumPolicies = []string{
	"/etc/chromium/policies/managed/*.json", "/etc/chromium/policies/recommended/*.json", "/etc/chromium-browser/policies/managed/*.json",
	"/etc/opt/chrome/policies/managed/*.json", "/etc/opt/chrome/policies/recommended/*.json", "/etc/opt/edge/policies/managed/*.json", "/etc/brave/policies/managed/*.json",
}

// firefoxes are the directories of profiles within a home.
var firefoxes = []string{
	".mozilla/firefox", "snap/firefox/common/.mozilla/firefox", ".var/app/org.mozilla.firefox/.mozilla/firefox", ".librewolf",
	"Library/Application Support/Firefox", "AppData/Roaming/Mozilla/Firefox",
}

// firefoxForAll are files that set preferences for all users.
var firefoxForAll = []string{
	"/etc/firefox/policies/policies.json", "/usr/lib/firefox*/distribution/policies.json", "/opt/firefox/distribution/policies.json",
}

// written is a file of settings of Chromium's kin.
type written struct {
	file doctor.File
	read.Chromium
	policy bool
}

// chromium gives what files of preferences and policies say.
func chromium(h *doctor.Host) []written {
	var all []written
	var inHomes []string
	for _, dir := range chromiums {
		inHomes = append(inHomes, path.Join(dir, "Local State"), path.Join(dir, "*", "Preferences"))
	}
	for _, f := range h.Readable(inHomes) {
		if c, err := read.ParseChromiumPreferences(f.Data); err == nil {
			all = append(all, written{f, c, false})
		}
	}
	for _, f := range h.Readable(nil, chromiumPolicies...) {
		if c, err := read.ParseChromiumPolicy(f.Data); err == nil {
			all = append(all, written{f, c, true})
		}
	}
	return all
}

// profile is one of Firefox: its preferences with what stands over them, each with its file.
type profile struct {
	dir   string
	prefs map[string]pref
}

type pref struct {
	read.Pref
	file doctor.File
}

// evidence is the preference with its place.
func (p pref) evidence() string { return p.file.At(p.Line, p.Name+" = "+p.Value) }

// get gives the value, and that of the browser where it is not set.
func (p profile) get(name, built string) string {
	if v, ok := p.prefs[name]; ok {
		return v.Value
	}
	return built
}

// firefox gives the profiles of every home.
func firefox(h *doctor.Host) []profile {
	forAll := map[string]pref{}
	for _, f := range h.Readable(nil, firefoxForAll...) {
		if all, err := read.FirefoxPolicies(f.Data); err == nil {
			for name, p := range all {
				forAll[name] = pref{p, f}
			}
		}
	}
	var profiles []profile
	for _, home := range h.Homes {
		for _, dir := range firefoxes {
			base := path.Join(home.Path, dir)
			ini, ok := h.Files.Read(path.Join(base, "profiles.ini"))
			if !ok {
				continue
			}
			for _, one := range read.ProfilesOf(ini.Data) {
				at := one
				if !path.IsAbs(one) {
					at = path.Join(base, one)
				}
				p := profile{at, map[string]pref{}}
				for _, name := range []string{"prefs.js", "user.js"} { // the latter wins, at every start
					if f, ok := h.Files.Read(path.Join(at, name)); ok {
						for key, v := range read.ParsePrefs(f.Data) {
							p.prefs[key] = pref{v, f}
						}
					}
				}
				if len(p.prefs) == 0 {
					continue // never used
				}
				for key, v := range forAll {
					p.prefs[key] = v
				}
				profiles = append(profiles, p)
			}
		}
	}
	return profiles
}

// programs gives the processes that are browsers of Chromium's kin, without their helpers.
func programs(h *doctor.Host) []doctor.Process {
	var all []doctor.Process
	for _, p := range h.Processes {
		kin := slices.ContainsFunc([]string{"chrom", "brave", "msedge", "vivaldi", "electron", "headless_shell"}, func(s string) bool { return strings.HasPrefix(p.Name, s) })
		if kin && p.Name != "chromedriver" && flag(p, "type") == "" && !strings.Contains(p.Name, "crashpad") {
			all = append(all, p)
		}
	}
	return all
}

// flag gives the value of --NAME=VALUE. A flag without a value is "true".
func flag(p doctor.Process, name string) string {
	value := ""
	for _, a := range p.Args[min(1, len(p.Args)):] {
		if a == "--"+name {
			value = "true"
		}
		if v, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			value = v
		}
	}
	return value
}
