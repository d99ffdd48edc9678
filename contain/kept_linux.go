package contain

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"watertight/contain/hull"
)

// firstExtra is the descriptor that the first of [os/exec.Cmd.ExtraFiles] becomes.
const firstExtra = 3

// kept gives the files of a child that is to have these descriptors of this process by the same numbers, and a free place among
// them. One that this process was not started with is an error: it may be one that it has opened for itself.
func kept(fds []int) (files []*os.File, free int, err error) {
	if err := (hull.Plan{Dir: "/", ResolvConf: "-", Keep: fds}).Check(); err != nil {
		return nil, 0, err
	}
	files = make([]*os.File, 1)
	for _, fd := range fds {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 { // all that this program opens is closed where another is executed
			return nil, 0, fmt.Errorf("there is no descriptor %d to keep: nothing was given by that number, as the shell's `%d<FILE` does", fd, fd)
		}
		for len(files) <= fd-firstExtra+1 { // and a place more than that
			files = append(files, nil)
		}
		if files[fd-firstExtra] != nil {
			continue // named twice
		}
		files[fd-firstExtra] = os.NewFile(uintptr(fd), fmt.Sprintf("descriptor %d", fd))
	}
	for files[free] != nil {
		free++
	}
	return files, free, nil
}
