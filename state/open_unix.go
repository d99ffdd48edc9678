//go:build unix

package state

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openFile opens a file for reading, follows no link to it, and waits for no writer of a pipe.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func ownedHere(info fs.FileInfo) error {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to the user %d", s.Uid)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("others may read or change it (mode %04o): chmod 600, if what it holds is yours", mode)
	}
	return nil
}
