package cli_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"watertight/lab"
)

const (
	listens  = `import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind("x.sock"); s.listen(); print("listening", flush=True); sys.stdin.read()`
	connects = `import socket, sys
try: socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print("open")
except OSError: print("closed")`
)

// A program that listens at a path from its directory tells the kernel no more than that, and its directory is known to those
// outside alone.
func TestExec_CoversASocketWhoseDirectoryItsProgramAloneKnows(t *testing.T) {
	lab.Need(t, "/usr/bin/python3")
	w := execWorld(t)
	for name, user := range users() {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(w.dir, "a/b/c/d/e", name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(dir, user, user); err != nil {
				t.Fatal(err)
			}
			host := exec.Command("/usr/bin/python3", "-I", "-c", listens)
			host.Dir = dir
			host.SysProcAttr = &syscall.SysProcAttr{}
			if user != os.Getuid() {
				host.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}
			}
			until := lab.Must(host.StdinPipe())(t)
			said := lab.Must(host.StdoutPipe())(t)
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { until.Close(); _ = host.Wait() })
			if line, err := bufio.NewReader(said).ReadString('\n'); line != "listening\n" {
				t.Fatalf("%q, %v", line, err)
			}
			// Below /tmp nothing of the host's is seen, unless it is named.
			cmd := w.exec(user, "--bind", filepath.Join(w.dir, "a"), "--", "/usr/bin/python3", "-I", "-c", connects, dir+"/x.sock")
			if out, errs, _ := outcome(t, cmd); out != "closed\n" {
				t.Errorf("%q: %s", out, errs)
			}
			cmd = w.exec(user, "--bind", filepath.Join(w.dir, "a"), "--allow-socket", dir+"/x.sock", "--", "/usr/bin/python3", "-I", "-c", connects, dir+"/x.sock")
			if out, errs, _ := outcome(t, cmd); out != "open\n" {
				t.Errorf("allowed: %q: %s", out, errs)
			}
		})
	}
}
