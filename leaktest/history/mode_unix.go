//go:build unix

package history

import (
	"io/fs"
	"os"
	"syscall"
)

// shared says whether others than this user can read or change a file.
func shared(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return info.Mode().Perm()&0o077 != 0 || !ok || int(stat.Uid) != os.Geteuid()
}
