package hull_test

import (
	"net"
	"os"
	"strings"
	"testing"
)

// listen opens a UNIX socket of the host that everybody may connect to.
func listen(t *testing.T, network, path string) {
	t.Helper()
	var closer interface{ Close() error }
	var err error
	if network == "unixgram" {
		closer, err = net.ListenUnixgram(network, &net.UnixAddr{Name: path, Net: network})
	} else {
		closer, err = net.Listen(network, path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closer.Close()
		os.Remove(path)
	})
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
}

func TestSocketsInRunAreOutOfReach(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		for _, network := range []string{"unix", "unixgram", "unixpacket"} {
			path := "/run/" + network + ".sock"
			listen(t, network, path)
			if r := l.plain().role("connect", path); r.out != "open "+path+"\n" {
				t.Errorf("without a hull: %+v", r)
			}
			if r := l.role("connect", path); r.out != "closed "+path+"\n" {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestAProgramSeesItsUserItsFilesAndItsExitCode(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		dir, err := os.MkdirTemp("/srv", "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := os.Chown(dir, l.uid, l.uid); err != nil {
			t.Fatal(err)
		}
		l.spec.Plan.Dir = dir
		script := "id -u; pwd; echo here >file; ls -ln file | cut -d' ' -f3; exit 7"
		contained, plain := l.run("/bin/sh", "-c", script), l.plain().run("/bin/sh", "-c", script)
		if contained != plain || contained.code != 7 {
			t.Errorf("%+v, and without a hull %+v", contained, plain)
		}
		if text, err := os.ReadFile(dir + "/file"); err != nil || !strings.HasPrefix(string(text), "here") {
			t.Errorf("the file has %q: %v", text, err)
		}
	})
}
