package tree

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const units = root + "/packaging/systemd"

// exposure is the highest figure of `systemd-analyze security` that the service may have, times ten.
const exposure = "20"

func TestTheUnits_areValid_andTheServiceIsHardened(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		absent(t, "systemd-analyze is not there")
	}
	files, err := filepath.Glob(units + "/*")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v: %v", files, err)
	}
	dir := t.TempDir()
	var copies []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// The program and its documents need not be installed here.
		installed := strings.ReplaceAll(string(text), "/usr/bin/watertight", "/bin/true")
		path := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(path, []byte(installed), 0o600); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, path)
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, copies...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err = exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+exposure, filepath.Join(dir, "watertight.service")).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

func TestTheExampleConfiguration_isValid(t *testing.T) {
	out, err := exec.Command(program(t), "config", "check", "-c", root+"/packaging/watertight.yaml").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
