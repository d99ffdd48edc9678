package hull_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"watertight/contain/hull"
)

func TestLandlockStandsBehindTheFilterForMounts(t *testing.T) {
	needHost(t)
	before, after, held := error(nil), error(nil), ""
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // ends with the goroutine
		before = unix.Mount("tmpfs", "/srv/etc", "tmpfs", 0, "")
		_ = unix.Unmount("/srv/etc", 0)
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			held, err = hull.Landlock(nil)
		}
		after = unix.Mount("tmpfs", "/srv/etc", "tmpfs", 0, "")
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(held, "nothing") {
		t.Skipf("NOT TESTED: Landlock holds %s", held)
	}
	if before != nil || !errors.Is(after, unix.EPERM) {
		t.Errorf("before: %v; under Landlock, which holds %s: %v", before, held, after)
	}
}
