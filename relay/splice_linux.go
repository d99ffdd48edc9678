package relay

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bulk is how many octets must come without a pause before a flow takes a pipe: below it, one read and one write
// through a buffer cost less than two splices.
const bulk = len(buffer{})

// socket is a flow between kernel sockets. While it waits it holds neither buffer nor pipe: it takes one when octets
// are there, and gives it back when the source runs dry.
type socket struct {
	from, to syscall.RawConn
	buf      *buffer
	pipe     *pipe
	inBulk   bool // the last burst was long: begin the next one with a pipe
	eof      bool
	n        int   // octets got at once
	sysErr   error // of the last system call on src or dst
}

// carry moves octets until src ends. An error of dst is a [writeError].
func (f *flow) carry() error {
	src, ok := f.src.(*net.TCPConn)
	if !ok {
		return f.copyAll()
	}
	var err error
	if f.from, err = src.SyscallConn(); err != nil {
		return err
	}
	dst, spliced := f.dst.(*net.TCPConn)
	if spliced {
		if f.to, err = dst.SyscallConn(); err != nil {
			return &writeError{err}
		}
	}
	defer f.release()
	fill, drain := f.fill, f.drain // bound once, not for each burst
	for {
		// The pipe is always empty here: what was put in was taken out before.
		if err := f.from.Read(fill); err != nil {
			return err
		}
		if f.sysErr != nil {
			return os.NewSyscallError("read", f.sysErr)
		}
		switch {
		case f.eof:
			return nil
		case f.pipe != nil:
			if err := f.to.Write(drain); err != nil {
				return &writeError{err}
			}
			if f.sysErr != nil {
				return &writeError{os.NewSyscallError("splice", f.sysErr)}
			}
		default:
			f.inBulk = spliced && f.n == len(f.buf)
			if err := f.write(f.buf[:f.n]); err != nil {
				return err
			}
		}
	}
}

// fill gets what is there, into a pipe in bulk and into a buffer otherwise. It gives false, and holds nothing, if
// nothing is there: the runtime then waits until something is.
func (f *flow) fill(fd uintptr) (done bool) {
	f.eof, f.n, f.sysErr = false, 0, nil
	f.take()
	for {
		if f.pipe != nil {
			var n int64
			n, f.sysErr = unix.Splice(int(fd), nil, f.pipe.w, nil, pipeSize, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
			f.n = int(n)
		} else {
			f.n, f.sysErr = unix.Read(int(fd), f.buf[:])
		}
		switch f.sysErr {
		case nil:
			f.eof = f.n == 0
			if f.pipe != nil {
				f.pipe.held = f.n
				f.inBulk = f.n >= bulk/8
			}
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			f.release()
			f.sysErr = nil
			return false
		case unix.EINVAL:
			if f.pipe == nil {
				return true
			}
			// The kernel does not splice from this socket. Nothing was taken from it.
			f.release()
			f.inBulk = false
			f.take()
		default:
			return true
		}
	}
}

// take makes sure that the flow holds a pipe or a buffer, and not both.
func (f *flow) take() {
	if f.inBulk && f.pipe == nil {
		f.pipe = pipes.get()
	}
	switch {
	case f.inBulk && f.pipe != nil:
		if f.buf != nil {
			buffers.Put(f.buf)
			f.buf = nil
		}
	default:
		if f.pipe != nil {
			pipes.put(f.pipe)
			f.pipe = nil
		}
		if f.buf == nil {
			f.buf = buffers.Get().(*buffer)
		}
	}
}

// drain moves what the pipe holds to dst. It gives false where dst takes no more for now.
func (f *flow) drain(fd uintptr) (done bool) {
	f.sysErr = nil
	for f.pipe.held > 0 {
		n, err := unix.Splice(f.pipe.r, nil, int(fd), nil, f.pipe.held, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case err == nil && n > 0:
			f.pipe.held -= int(n)
			f.carried += n
		case err == nil:
			f.sysErr = unix.EIO // a pipe that holds something gave nothing
			return true
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		default:
			f.sysErr = err
			return true
		}
	}
	return true
}

// release gives back what the flow holds.
func (f *flow) release() {
	if f.pipe != nil {
		pipes.put(f.pipe)
		f.pipe = nil
	}
	if f.buf != nil {
		buffers.Put(f.buf)
		f.buf = nil
	}
}
