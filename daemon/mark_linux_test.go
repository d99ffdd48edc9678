package daemon

import (
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withoutRights calls f on a thread that may do nothing special, and throws the thread away.
func withoutRights(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // it ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func TestAMarkThatMayNotBePutIsRefusedAtTheStart(t *testing.T) {
	w := &world{t: t}
	for conf, refused := range map[string]bool{
		"{listen: {transparent: [{address: \"127.0.0.1:8081\", mark: 119}]}}": true,
		"{listen: {transparent: [\"127.0.0.1:8081\"]}}":                       false,
	} {
		c := w.parse(conf)
		err := withoutRights(t, func() error { return mayMark(c) })
		if refused != (err != nil) || refused && !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("%s: %v", conf, err)
		}
	}
}
