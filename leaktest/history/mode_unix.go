//go:build unix

package history

import (
	"io/fs"
	"os"
	"syscall"
)

// shared says whether others than this user can read or change a file.
func shared(info fs.FileInfo) bool {
	return info.Mode().Perm()&0o077 != 0 || another(info)
}

// another says whether a file is not this user's.
func another(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(stat.Uid) != os.Geteuid()
}
