package browser

import (
	"strings"

	"watertight/doctor"
)

var browserDoH = doctor.Rule{
	ID: "BROWSER-DOH", Severity: doctor.Medium,
	Title:   "a browser has a resolver of its own, and falls back to the host's in clear text",
	Clients: []string{"Chromium and its kin, where they have no proxy", "Firefox, where it has no proxy"},
	Explain: `Chromium's "automatic" and Firefox's network.trr.mode 2 ask a resolver over HTTPS first and the host's, in clear text, when that
fails: as at a captive portal, in front of a filter, or in the first seconds after a start (chromium, DnsOverHttpsMode; Mozilla,
"Trusted Recursive Resolver"). Firefox chooses mode 2 by itself in some countries. Either way the names go to somebody that no channel
of ours has chosen.
With a proxy neither is asked for the names of pages. "off" leaves names to the host's resolver, which should be Watertight; "secure", or
mode 3, never falls back, and still asks its own.
Only what is written is found: a browser without such a line decides by itself.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, c := range chromium(h) {
			if c.DoH.Text != "automatic" {
				continue
			}
			fix := chromiumMend(h)
			if c.policy {
				fix = `# in that file` + "\n" + `"DnsOverHttpsMode": "off"`
			}
			f := doctor.Finding{
				Fact: "Chromium asks a resolver of its own, and the host's in clear text when that fails", Evidence: []string{c.file.At(c.DoH.Line, "automatic")}, Fix: fix,
			}
			if text := string(c.file.Data); c.policy && strings.Count(text, `"automatic"`) == 1 {
				f.Change = doctor.NewChange(c.file, []byte(strings.Replace(text, `"automatic"`, `"off"`, 1)))
			}
			found = append(found, f)
		}
		for _, p := range firefox(h) {
			if p.get("network.trr.mode", "0") != "2" {
				continue
			}
			found = append(found, doctor.Finding{
				Fact:     "Firefox asks a resolver of its own, and the host's in clear text when that fails",
				Evidence: []string{p.prefs["network.trr.mode"].evidence()}, Fix: "// in user.js of the profile\n" + `user_pref("network.trr.mode", 5);`,
			})
		}
		return doctor.Merge(found)
	},
}
