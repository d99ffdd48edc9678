package rules

import (
	"os/exec"
	"strings"
	"testing"

	"watertight/doctor"
	"watertight/doctor/doctortest"
)

// Whatever a user writes into a file of his own: who pastes a fix, as root perhaps, runs nothing of it.
func TestAFix_runsNothingOfWhatStandsInAFile(t *testing.T) {
	const evil = "x'; echo PWNED; `echo PWNED` $(echo PWNED) \"; echo PWNED #"
	text := "A host of somebody who wants others to run his commands.\n-- etc/passwd --\nann:x:1000:1000::/srv/ann:/bin/bash\n-- srv/ann/.profile --\n"
	for _, value := range []string{evil, "socks5://" + evil, "http://h:1/" + evil, "http://a:" + evil + "@h:1", "*." + evil} {
		profile := ""
		for _, name := range []string{"HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY", "npm_config_proxy"} {
			profile += "export " + name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'\n"
		}
		r := doctor.Run(t.Context(), doctortest.Read(t, value, []byte(text+profile)).Host(t), All())
		if len(r.Findings) < 3 {
			t.Errorf("%s: %d findings only", value, len(r.Findings))
		}
		var script strings.Builder
		for _, f := range r.Findings {
			script.WriteString("( " + strings.ReplaceAll(f.Fix, "watertight", "true") + "\n)\n")
		}
		cmd := exec.Command("bash", "-r", "-c", script.String())
		cmd.Env = []string{"PATH=/nowhere"}
		out, _ := cmd.CombinedOutput() // it may fail, and complain of what it is given
		for line := range strings.Lines(string(out)) {
			if strings.TrimSpace(line) == "PWNED" {
				t.Errorf("a fix runs what stands in the file:\n%s", script.String())
			}
		}
	}
}
