package guard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var armed = kept{Version: fileVersion, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Mark: 119, Allow: prefixes("192.168.0.0/16"), Digest: "d"}

func TestWhatIsWrittenIsReadAgainAndAnybodyMayReadIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guard.json")
	if k, err := readFile(path); k != nil || err != nil {
		t.Fatalf("a file that is not there: %v, %v", k, err)
	}
	for range 2 {
		if err := writeFile(path, armed); err != nil {
			t.Fatal(err)
		}
	}
	k, err := readFile(path)
	if err != nil || !k.same(&armed) || k.Digest != armed.Digest {
		t.Errorf("%+v, %v", k, err)
	}
	about, err := os.Stat(path)
	if err != nil || about.Mode() != 0o644 {
		t.Errorf("%v, %v", about.Mode(), err)
	}
	if all, err := os.ReadDir(filepath.Dir(path)); err != nil || len(all) != 1 {
		t.Errorf("it leaves behind %v, %v", all, err)
	}
	if err := removeFile(path); err != nil {
		t.Error(err)
	}
	if err := removeFile(path); err != nil {
		t.Error("a second time: ", err)
	}
}

// A file that says nothing must not be taken for a guard that is off.
func TestAFileThatCannotBeTrustedIsAnErrorAndNeverOff(t *testing.T) {
	good := `{"version": 1, "since": "2026-01-02T03:04:05Z", "mark": 119, "allow": [], "digest": ""}`
	write := func(text string, mode os.FileMode) func(string) error {
		return func(path string) error {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
			return os.Chmod(path, mode)
		}
	}
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"empty":                 {write("", 0o644), "not what was written"},
		"torn":                  {write(good[:40], 0o644), "not what was written"},
		"something follows":     {write(good+"{}", 0o644), "something follows"},
		"another key":           {write(`{"off": true}`, 0o644), "not what was written"},
		"of another version":    {write(strings.Replace(good, "1", "2", 1), 0o644), "version 2"},
		"without a time":        {write(`{"version": 1, "mark": 119}`, 0o644), "version"},
		"without a mark":        {write(strings.Replace(good, "119", "0", 1), 0o644), "the mark is 0"},
		"too large":             {write(good+strings.Repeat(" ", maxFile), 0o644), "more than"},
		"of others to write to": {write(good, 0o666), "may write to it"},
		"of a group":            {write(good, 0o664), "may write to it"},
		"a link":                {func(path string) error { return os.Symlink("/dev/null", path) }, "symbolic"},
		"a directory":           {func(path string) error { return os.Mkdir(path, 0o755) }, "not a regular file"},
		"a pipe":                {func(path string) error { return unix.Mkfifo(path, 0o644) }, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "guard.json")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			k, err := readFile(path)
			if k != nil || err == nil {
				t.Fatalf("it is taken for %+v, %v", k, err)
			}
			text := strings.ReplaceAll(err.Error(), "too many levels of symbolic links", "symbolic")
			if !strings.Contains(text, c.want) || !strings.Contains(text, path) {
				t.Errorf("it says %q, and not %q", text, c.want)
			}
		})
	}
}

func TestAFileOfAnotherUserIsNotBelieved(t *testing.T) {
	if err := trusted(0o644, 4321, 1000); err == nil || !strings.Contains(err.Error(), "user 4321") {
		t.Errorf("it says %v", err)
	}
	for _, owner := range []uint32{0, 1000} {
		if err := trusted(0o644, owner, 1000); err != nil {
			t.Error(err)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"version": 1, "since": "2026-01-02T03:04:05Z", "mark": 119, "allow": ["10.0.0.0/8"], "digest": "x"}`))
	f.Add([]byte(`{"version": 1, "allow": ["fe80::1%a\"/64"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := parseKept(b); err == nil {
			if err := (Rules{Mark: k.Mark, Allow: k.Allow}).Check(); err != nil || k.Since.IsZero() {
				t.Errorf("%+v is taken: %v", k, err)
			}
		}
	})
}
