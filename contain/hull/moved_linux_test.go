package hull_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// The kernel names a socket as its program did when it was made: not from where it is found, if that was a path from the
// working directory, and not where it is, if it was moved since. Each is in a directory of its own, where only it leads.
func TestSocketsThatAreNotWhereTheyAreListedAreCovered(t *testing.T) {
	for what, bind := range map[string]func(t *testing.T, l *launch, dir string) string{
		"moved": func(t *testing.T, _ *launch, dir string) string {
			listen(t, "unix", dir+"/new.sock")
			if err := os.Rename(dir+"/new.sock", dir+"/moved.sock"); err != nil {
				t.Fatal(err)
			}
			return dir + "/moved.sock"
		},
		"of a directory that was moved": func(t *testing.T, _ *launch, dir string) string {
			if err := os.Mkdir(dir+"/before", 0o755); err != nil {
				t.Fatal(err)
			}
			listen(t, "unix", dir+"/before/x.sock")
			if err := os.Rename(dir+"/before", dir+"/after"); err != nil {
				t.Fatal(err)
			}
			return dir + "/after/x.sock"
		},
		"linked": func(t *testing.T, _ *launch, dir string) string {
			listen(t, "unix", dir+"/one.sock")
			if err := os.Link(dir+"/one.sock", dir+"/two.sock"); err != nil {
				t.Fatal(err)
			}
			return dir + "/two.sock"
		},
		"relative": func(t *testing.T, l *launch, dir string) string {
			listening(t, l, dir, "relative.sock")
			return dir + "/relative.sock"
		},
		"relative, and below its program's directory": func(t *testing.T, l *launch, dir string) string {
			if err := os.MkdirAll(dir+"/a/b", 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir+"/a/b", 0o777); err != nil {
				t.Fatal(err)
			}
			listening(t, l, dir, "./a/../a/b/x.sock")
			return dir + "/a/b/x.sock"
		},
	} {
		t.Run(what, func(t *testing.T) {
			users(t, func(t *testing.T, l *launch) {
				home := l.dirIn("/srv")
				l.env = []string{"PATH=/usr/bin:/bin", "HOME=" + home}
				deep := filepath.Join(home, ".local/share/app/profiles/default/run")
				if err := os.MkdirAll(deep, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(deep, 0o777); err != nil {
					t.Fatal(err)
				}
				path := bind(t, l, deep)
				want(t, "without a hull", l.plain().role("connect", path), "open "+path)
				want(t, "contained", l.role("connect", path), "closed "+path)
			})
		})
	}
}

// Whose directory is not told, its socket is named, as whether it is seen from inside is not known.
func TestASocketThatCannotBePlacedIsNamed(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		t.Setenv("HULL_TEST_REPORT", "yes")
		dir, other := l.dirIn("/srv"), *l
		other.uid = os.Getuid()
		listening(t, &other, dir, "elsewhere.sock")
		r := l.run("true")
		_, list, _ := strings.Cut(r.err, "Unplaced:[")
		list, _, _ = strings.Cut(list, "]")
		named := slices.Contains(strings.Fields(list), "elsewhere.sock") // beside those of this host
		if r.code != 0 || named != (l.uid != os.Getuid()) {
			t.Errorf("exit code %d: %s", r.code, r.err)
		}
	})
}

// listening has another program of the user listen on a socket, at a path from its directory.
func listening(t *testing.T, l *launch, dir, path string) {
	t.Helper()
	cmd := exec.Command(program, "role:listen", path)
	cmd.Dir = dir
	if l.uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(l.uid), Gid: uint32(l.uid)}}
	}
	until, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { until.Close(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "listening\n" {
		t.Fatalf("%q, %v", line, err)
	}
}
