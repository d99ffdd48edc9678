// Package exec starts programs.
package exec

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

func forbidden() {
	_ = exec.Command("true")                  // want `exec.Command: another program is out of our hands: its look-ups go where it likes; only contain, lab and demo start programs \(onedoor: exec\)`
	_ = exec.CommandContext                   // want `exec.CommandContext: `
	_ = &exec.Cmd{Path: "true"}               // want `exec.Cmd: `
	_, _ = os.StartProcess("true", nil, nil)  // want `os.StartProcess: `
	_ = syscall.Exec("true", nil, nil)        // want `syscall.Exec: `
	_, _ = syscall.ForkExec("true", nil, nil) // want `syscall.ForkExec: `
}

func allowed() (string, bool) {
	path, err := exec.LookPath("true")
	return path, errors.Is(err, exec.ErrNotFound)
}
