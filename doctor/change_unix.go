//go:build unix

package doctor

import (
	"io/fs"
	"os"
	"syscall"
)

// unsafe says why a file in a directory is not to be replaced, or nothing.
func unsafe(dir, file fs.FileInfo) string {
	d, ok := dir.Sys().(*syscall.Stat_t)
	f, also := file.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !also:
		return "has an owner that is not known"
	case f.Nlink > 1:
		return "has another name too"
	case d.Uid != 0 && d.Uid != f.Uid:
		return "is in a directory that belongs to somebody else"
	case dir.Mode().Perm()&0o002 != 0, dir.Mode().Perm()&0o020 != 0 && d.Gid != d.Uid: // a group of one's own has one's own number
		return "is in a directory that others may write to"
	}
	return ""
}

// keepOwner gives a file the mode and owner of another.
func keepOwner(f *os.File, like fs.FileInfo) error {
	stat, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return fs.ErrInvalid
	}
	if err := f.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
		return err
	}
	return f.Chmod(like.Mode().Perm())
}
