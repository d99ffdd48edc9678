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
	dir := t.TempDir()
	copies := copied(t, dir, "/*.service", "/*.socket")
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, copies...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err = exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+exposure, filepath.Join(dir, "watertight.service")).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}

	// With what belongs beside it for the guard, which takes a right.
	copied(t, dir, "/watertight.service.d/*.conf")
	out, err = exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, copies...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "watertight.service.d", "guard.conf"))
	if err != nil || !strings.Contains(string(text), "AmbientCapabilities=CAP_NET_ADMIN") {
		t.Errorf("%v: %s", err, text)
	}
	// Stopping it opens nothing, by whatever command.
	text, err = os.ReadFile(filepath.Join(dir, "watertight-guard.service"))
	if err != nil || strings.Contains(string(text), "\nExecStop") || strings.Contains(string(text), "guard off -") || !strings.Contains(string(text), "\nRemainAfterExit=yes\n") {
		t.Errorf("%v: %s", err, text)
	}
}

// copied copies units to a directory, as if the program and its documents were installed.
func copied(t *testing.T, dir string, patterns ...string) (copies []string) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(units + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v: %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			installed := strings.ReplaceAll(string(text), "/usr/bin/watertight", "/bin/true")
			path := filepath.Join(dir, strings.TrimPrefix(file, units))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(installed), 0o600); err != nil {
				t.Fatal(err)
			}
			copies = append(copies, path)
		}
	}
	return copies
}

func TestTheExampleConfiguration_isValid(t *testing.T) {
	out, err := exec.Command(program(t), "config", "check", "-c", root+"/packaging/watertight.yaml").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
