//go:build !unix

package doctor

import (
	"io/fs"
	"os"
)

// unsafe says why a file in a directory is not to be replaced, or nothing: here, files belong to who may write them.
func unsafe(_, _ fs.FileInfo) string { return "" }

// keepOwner gives a file the mode of another; its owner is that of the directory's rules.
func keepOwner(_ *os.File, like fs.FileInfo) error {
	if like.Mode().Perm()&0o200 == 0 {
		return fs.ErrPermission // it is read-only on purpose
	}
	return nil
}
