package program

import (
	"strings"

	"watertight/doctor"
)

var telemetry = doctor.Rule{
	ID: "TELEMETRY", Severity: doctor.Low,
	Title:   "programs that look up names of their makers on their own account",
	Clients: []string{"HTTPie (packages.httpie.io)", "k6 (stats.grafana.org)", "Visual Studio Code"},
	Explain: `Measured: HTTPie 3 looks up packages.httpie.io here in spite of --proxy, unless disable_update_warnings is set; k6 1.8 reports to
stats.grafana.org, through the proxy of HTTPS_PROXY and directly with ALL_PROXY, unless --no-usage-report or K6_NO_USAGE_REPORT is.
Visual Studio Code reports unless telemetry.telemetryLevel is off (documented).`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		if where := installed(h, []string{"http", "httpie"}, ".local/bin/http"); len(where) > 0 && !says(h, ".config/httpie/config.json", `"disable_update_warnings"`, "true") {
			found = append(found, doctor.Finding{
				Fact: "HTTPie looks up packages.httpie.io here, to see whether there is a later version", Evidence: where, Clients: []string{"HTTPie"},
				Fix: `{"disable_update_warnings": true}   # in ~/.config/httpie/config.json`,
			})
		}
		for _, p := range running(h, "k6") {
			if v, _ := p.Env("K6_NO_USAGE_REPORT"); v != "true" && !strings.Contains(strings.Join(p.Args, " "), "--no-usage-report") {
				found = append(found, doctor.Finding{Fact: "k6 reports to stats.grafana.org", Evidence: []string{p.String() + ": " + p.Command()}, Clients: []string{"k6"}, Fix: "export K6_NO_USAGE_REPORT=true"})
			}
		}
		for _, f := range h.Readable([]string{".config/Code/User/settings.json", "AppData/Roaming/Code/User/settings.json", "Library/Application Support/Code/User/settings.json"}) {
			if !setTo(f, `"telemetry.telemetryLevel"`, "off") {
				found = append(found, doctor.Finding{Fact: "Visual Studio Code reports to its maker", Evidence: []string{f.Path + ": telemetry.telemetryLevel is not off"}, Clients: []string{"Visual Studio Code"}, Fix: `"telemetry.telemetryLevel": "off"   // in ` + doctor.Plain(f.Path)})
			}
		}
		return doctor.Merge(found)
	},
}

// says tells whether a file of some home sets a key to a value, on one line.
func says(h *doctor.Host, inHome, key, value string) bool {
	for _, f := range h.Readable([]string{inHome}) {
		if setTo(f, key, value) {
			return true
		}
	}
	return false
}

func setTo(f doctor.File, key, value string) bool {
	for _, line := range f.Lines() {
		if _, rest, ok := strings.Cut(line, key); ok && strings.Contains(rest, value) {
			return true
		}
	}
	return false
}
