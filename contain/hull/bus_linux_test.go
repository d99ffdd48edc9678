package hull_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A message bus starts programs for whoever asks: a contained one could have its names looked up by them.
func TestAMessageBusIsOutOfReach(t *testing.T) {
	for _, program := range []string{"dbus-daemon", "dbus-send"} {
		if _, err := exec.LookPath(program); err != nil {
			lacking(t, "no "+program)
		}
	}
	users(t, func(t *testing.T, l *launch) {
		address := "unix:path=" + l.dirIn("/run") + "/bus"
		bus := exec.Command("dbus-daemon", "--session", "--nofork", "--address="+address, "--print-address=1")
		if l.uid != os.Getuid() {
			bus.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(l.uid), Gid: uint32(l.uid)}}
		}
		out, err := bus.StdoutPipe()
		if err == nil {
			err = bus.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = bus.Process.Kill()
			_ = bus.Wait()
		}()
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		ask := []string{"/usr/bin/dbus-send", "--bus=" + address, "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.ListNames"}
		if r := l.plain().run(ask...); r.code != 0 || !strings.Contains(r.out, "org.freedesktop.DBus") {
			t.Errorf("without a hull: %+v", r)
		}
		if r := l.run(ask...); r.code == 0 || r.code == 125 || !strings.Contains(r.err, "Failed to open connection") {
			t.Errorf("contained: %+v", r)
		}
	})
}
