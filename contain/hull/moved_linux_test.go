package hull_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// The kernel names a socket as its program did when it was made: not from where it is found, if that was a path from the
// working directory, and not where it is, if it was moved since.
func TestSocketsThatAreNotWhereTheyAreListedAreCovered(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		home := l.dirIn("/srv")
		l.env = []string{"PATH=/usr/bin:/bin", "HOME=" + home}
		deep := filepath.Join(home, ".local/share/app/profiles/default/run")
		if err := os.MkdirAll(deep, 0o755); err != nil {
			t.Fatal(err)
		}
		for what, bind := range map[string]func() string{
			"moved": func() string {
				listen(t, "unix", deep+"/new.sock")
				if err := os.Rename(deep+"/new.sock", deep+"/moved.sock"); err != nil {
					t.Fatal(err)
				}
				return deep + "/moved.sock"
			},
			"of a directory that was moved": func() string {
				if err := os.Mkdir(deep+"/before", 0o755); err != nil {
					t.Fatal(err)
				}
				listen(t, "unix", deep+"/before/x.sock")
				if err := os.Rename(deep+"/before", deep+"/after"); err != nil {
					t.Fatal(err)
				}
				return deep + "/after/x.sock"
			},
			"linked": func() string {
				listen(t, "unix", deep+"/one.sock")
				if err := os.Link(deep+"/one.sock", deep+"/two.sock"); err != nil {
					t.Fatal(err)
				}
				return deep + "/two.sock"
			},
			"relative": func() string {
				t.Chdir(deep)
				ln, err := net.Listen("unix", "relative.sock")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { ln.Close() })
				if err := os.Chmod("relative.sock", 0o777); err != nil {
					t.Fatal(err)
				}
				return deep + "/relative.sock"
			},
		} {
			t.Run(what, func(t *testing.T) {
				path := bind()
				want(t, "without a hull", l.plain().role("connect", path), "open "+path)
				want(t, "contained", l.role("connect", path), "closed "+path)
			})
		}
	})
}
