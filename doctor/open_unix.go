//go:build unix

package doctor

import (
	"os"
	"syscall"
)

// openFlags open a file to be read, and do not wait for who writes to a pipe.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK
