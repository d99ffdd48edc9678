//go:build unix

package doctor_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"watertight/config"
	"watertight/doctor"
)

// changed makes a host with one file, and the change that replaces its second line.
func changed(t *testing.T) (dir string, h *doctor.Host, c *doctor.Change) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte("a\nb\nc\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	h, err := doctor.Open(doctor.Options{Root: dir, Config: config.Default(), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	f, ok := h.Files.Read("/conf")
	if !ok {
		t.Fatal("the file is not read")
	}
	return dir, h, doctor.ReplaceLine(f, 2, "B")
}

func content(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestApply_writesTheChangeWithTheFilesModeAndKeepsACopy(t *testing.T) {
	dir, h, c := changed(t)
	if want := "--- /conf\n+++ /conf\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"; c.Diff != want {
		t.Errorf("the diff is\n%s", c.Diff)
	}
	saved, err := h.Apply(c)
	if err != nil || saved != "/conf"+doctor.Suffix {
		t.Fatalf("%q %v", saved, err)
	}
	for name, want := range map[string]string{"conf": "a\nB\nc\n", "conf" + doctor.Suffix: "a\nb\nc\n"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if got := content(t, filepath.Join(dir, name)); err != nil || got != want || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: %q %v", name, got, info)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte("a\nb\nc\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if saved, err := h.Apply(c); err != nil || saved != "/conf"+doctor.Suffix+".1" {
		t.Errorf("the second copy: %q %v", saved, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*-new")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestApply_touchesNothingThatCouldLeadElsewhere(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"changed meanwhile": func(dir string) error { return os.WriteFile(filepath.Join(dir, "conf"), []byte("x\n"), 0o640) },
		"gone":              func(dir string) error { return os.Remove(filepath.Join(dir, "conf")) },
		"a second name":     func(dir string) error { return os.Link(filepath.Join(dir, "conf"), filepath.Join(dir, "other")) },
		"a link": func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "conf"), filepath.Join(dir, "real")), os.Symlink("real", filepath.Join(dir, "conf")))
		},
		"a pipe": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "conf")), syscall.Mkfifo(filepath.Join(dir, "conf"), 0o600))
		},
		"an open directory": func(dir string) error { return os.Chmod(dir, 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, h, c := changed(t)
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Apply(c); err == nil {
				t.Error("it is written")
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if strings.Contains(e.Name(), "watertight") {
					t.Errorf("left behind: %s", e.Name())
				}
				if e.Type()&fs.ModeNamedPipe == 0 && strings.Contains(content(t, filepath.Join(dir, e.Name())), "B") {
					t.Errorf("written: %s", e.Name())
				}
			}
		})
	}
}

// A pipe where a file is looked for does not hold the doctor up, and neither does what was exchanged for one.
func TestFiles_doNotWaitForAPipe(t *testing.T) {
	dir, h, _ := changed(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.Files.Read("/pipe"); ok {
		t.Error("a pipe is read")
	}
	if got := h.Files.Glob("/*/*"); len(got) > 0 || len(h.Files.Dir("/pipe")) > 0 {
		t.Errorf("a pipe is a directory: %q", got)
	}
}

func TestReplaceLine_keepsEndsOfLinesAndRefusesWhatIsNotThere(t *testing.T) {
	h := seeded(t, "-- f --\na\r\nb\r\n")
	f, _ := h.Files.Read("/f")
	if c := doctor.ReplaceLine(f, 1, "x"); c == nil || !strings.Contains(c.Diff, "-a\n+x\n b\n") {
		t.Errorf("%+v", c)
	}
	if c := doctor.ReplaceLine(f, 1, ""); c == nil || !strings.Contains(c.Diff, "-a\n b\n") {
		t.Errorf("%+v", c)
	}
	for _, line := range []int{0, -1, 9} {
		if c := doctor.ReplaceLine(f, line, "x"); c != nil {
			t.Errorf("line %d: %+v", line, c)
		}
	}
	if c := doctor.NewChange(f, f.Data); c != nil {
		t.Error("a change that changes nothing")
	}
	if c := doctor.NewChange(f, []byte("a\x00")); c != nil {
		t.Error("a change that is no text")
	}
}
