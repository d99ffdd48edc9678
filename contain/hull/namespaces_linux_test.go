package hull_test

import (
	"os"
	"os/exec"
	"syscall"
)

// clone starts this program in namespaces, and says what the kernel said.
func clone(flags uintptr) string {
	cmd := exec.Command("/proc/self/exe", "role:calls", "mount")
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	return told(cmd.Run())
}
