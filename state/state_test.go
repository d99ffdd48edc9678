//go:build unix

package state

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestTheDirectoryIsWhereUsersExpectIt(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"STATE_DIRECTORY": "/var/lib/watertight", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/var/lib/watertight"},
		{map[string]string{"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"},
		{map[string]string{"STATE_DIRECTORY": "relative", "HOME": "/h"}, "/h/.local/state/watertight"},
		{map[string]string{"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/watertight"},
		{map[string]string{"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/watertight"},
		{map[string]string{"HOME": "h"}, ""},
		{nil, ""},
	} {
		if got := Default(func(k string) (string, bool) { v, ok := c.env[k]; return v, ok }); got != c.want {
			t.Errorf("%v: %q, want %q", c.env, got, c.want)
		}
	}
}

func newDir(t *testing.T) *Dir {
	t.Helper()
	d, err := New(filepath.Join(t.TempDir(), "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestATextComesBackAsItWasWrittenAndIsItsUsersAlone(t *testing.T) {
	d := newDir(t)
	if _, err := d.Read("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, text := range []string{"", "one", strings.Repeat("two\n", 1000), strings.Repeat("x", MaxText)} {
		if err := d.Write("x", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Read("x"); err != nil || string(got) != text {
			t.Errorf("%d octets, %v", len(got), err)
		}
	}
	for path, mode := range map[string]fs.FileMode{d.Path("x"): 0o600, d.path: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if list, err := os.ReadDir(d.path); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := d.Write("x", make([]byte, MaxText+1)); err == nil {
		t.Error("a text without a limit")
	}
	if got, err := d.Read("x"); err != nil || len(got) != MaxText {
		t.Errorf("what failed replaced what was there: %d octets, %v", len(got), err)
	}
}

func TestAFileThatIsDamagedOrForeignIsNeverContent(t *testing.T) {
	d := newDir(t)
	if err := d.Write("good", []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(d.Path("good"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) func(string) error {
		return func(path string) error { return os.WriteFile(path, b, 0o600) }
	}
	for name, c := range map[string]struct {
		make func(path string) error
		want error
	}{
		"empty":             {put(nil), ErrForeign},
		"another's":         {put([]byte(`{"version":1}` + strings.Repeat(" ", 100))), ErrForeign},
		"a later version":   {put(bytes.Replace(good, []byte("state 1"), []byte("state 2"), 1)), ErrForeign},
		"cut off":           {put(good[:len(good)-1]), ErrDamaged},
		"longer":            {put(append(bytes.Clone(good), ' ')), ErrDamaged},
		"one bit":           {put(bytes.Replace(good, []byte(`:1`), []byte(`:3`), 1)), ErrDamaged},
		"without end":       {put(append(bytes.Clone(good), make([]byte, 2*MaxText)...)), ErrDamaged},
		"writable":          {func(p string) error { return errors.Join(os.WriteFile(p, good, 0o600), os.Chmod(p, 0o620)) }, ErrForeign},
		"readable":          {func(p string) error { return errors.Join(os.WriteFile(p, good, 0o600), os.Chmod(p, 0o640)) }, ErrForeign},
		"a directory":       {func(p string) error { return os.Mkdir(p, 0o700) }, ErrForeign},
		"a pipe":            {func(p string) error { return syscall.Mkfifo(p, 0o600) }, ErrForeign},
		"a link to a good":  {func(p string) error { return os.Symlink(d.Path("good"), p) }, syscall.ELOOP},
		"a link to nothing": {func(p string) error { return os.Symlink("/nowhere", p) }, syscall.ELOOP},
	} {
		if err := c.make(d.Path("f")); err != nil {
			t.Fatal(err)
		}
		if b, err := d.Read("f"); !errors.Is(err, c.want) || b != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if err := os.Remove(d.Path("f")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoNameLeadsOutOfTheDirectory(t *testing.T) {
	d := newDir(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/x", `a\b`, ".hidden", "a\x00b", strings.Repeat("x", 201)} {
		if err := d.Write(name, nil); err == nil {
			t.Errorf("%q is written", name)
		}
		if _, err := d.Read(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q is read: %v", name, err)
		}
	}
	if _, err := New("relative"); err == nil {
		t.Error("a relative path")
	}
}

func TestThoseWhoWriteTogetherLeaveOneWholeText(t *testing.T) {
	d := newDir(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := d.Write("x", bytes.Repeat([]byte{byte('a' + i)}, 5000)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			b, err := d.Read("x")
			if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && len(b) != 5000 {
				t.Errorf("%d octets, %v", len(b), err)
			}
		})
	}
	wg.Wait()
	if list, err := os.ReadDir(d.path); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestADirectoryThatCannotBeWrittenIsAnError(t *testing.T) {
	at := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(at, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(filepath.Join(at, "below"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write("x", nil); err == nil {
		t.Error("a directory below a file")
	}
}

func TestALockIsOnes(t *testing.T) {
	d := newDir(t)
	unlock, err := d.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock("lock"); !errors.Is(err, ErrLocked) {
		t.Errorf("a second one: %v", err)
	}
	other, err := d.Lock("other")
	if err != nil {
		t.Fatal(err)
	}
	other()
	unlock()
	again, err := d.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	again()
	if err := os.Symlink("elsewhere", d.Path("link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "../up", ".hidden", ""} {
		if _, err := d.Lock(name); err == nil {
			t.Errorf("%q was locked", name)
		}
	}
}
