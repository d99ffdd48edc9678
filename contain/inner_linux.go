package contain

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"watertight/contain/network"
	"watertight/wire"
)

// innerName is argv[0] of this program when it is the first process of a contained program's namespaces; the program and its
// arguments follow. pairFD is its connection to the process outside.
const (
	innerName = "watertight-contained"
	pairFD    = 3
)

// inner is the first process inside. It makes the network, hands its sockets out, opens others when asked, and starts the program
// when told to. It ends with the program, or with the process outside; and all that is inside ends with it.
type inner struct {
	pair    *net.UnixConn
	program int // its process, once it is started
}

// runInner is main of the first process inside, and gives its exit code. What fails is said to the process outside.
func runInner(command []string) int {
	pair, err := wire.Inherited(pairFD)
	if err != nil {
		fmt.Fprintln(os.Stderr, "watertight:", err)
		return ExitUncontained
	}
	in := &inner{pair: pair}
	if err := in.openNetwork(); err != nil {
		return in.fail(err)
	}
	b := make([]byte, maxTalk)
	for {
		var o order
		sockets, err := hear(pair, b, &o)
		if err != nil {
			return ExitUncontained // nobody outside: the program has no network any more, and ends
		}
		closeAll(sockets) // none is expected
		switch {
		case o.Start != nil && in.program == 0:
			if err := in.start(command, o.Start); err != nil {
				return in.fail(err)
			}
			go in.await()
		case o.Signal != 0 && in.program != 0:
			_ = unix.Kill(in.program, o.Signal) // it may be gone
		case o.ID != 0:
			if err := in.open(o); err != nil {
				return ExitUncontained
			}
		}
	}
}

// fail tells what went wrong, and gives the exit code.
func (in *inner) fail(err error) int {
	code := ExitUncontained
	switch {
	case errors.Is(err, exec.ErrNotFound):
		code = exitNotFound
	case errors.Is(err, errNotExecutable):
		code = exitNotExecutable
	}
	_ = say(in.pair, word{Failed: err.Error(), Code: code}) // if nobody hears it, the exit code says it
	return code
}

// openNetwork makes the network and hands its sockets out.
func (in *inner) openNetwork() error {
	s, err := network.Open()
	if err != nil {
		return networkFault(err)
	}
	defer s.Close() // those outside have their own
	kinds, sockets := []string{"tcp4", "udp4", "dns", "dnsudp"}, []syscall.Conn{s.TCP4, s.UDP4, s.DNS, s.DNSUDP}
	if s.TCP6 != nil {
		kinds, sockets = append(kinds, "tcp6", "udp6"), append(sockets, s.TCP6, s.UDP6)
	}
	return say(in.pair, word{Sockets: kinds}, sockets...)
}

// open opens the socket that is asked for. The error is for a connection to the outside that is gone.
func (in *inner) open(o order) error {
	if o.From.IsValid() {
		c, err := wire.ReplyFrom(o.From, 0)
		if err != nil {
			return say(in.pair, word{ID: o.ID, Failed: err.Error()})
		}
		defer c.Close()
		return say(in.pair, word{ID: o.ID, Sockets: []string{"udp"}}, c)
	}
	c, err := wire.DialContained(o.Dial, o.To)
	if err != nil {
		return say(in.pair, word{ID: o.ID, Failed: err.Error()})
	}
	defer c.Close()
	return say(in.pair, word{ID: o.ID, Sockets: []string{o.Dial}}, c.(syscall.Conn))
}

// start starts the program.
func (in *inner) start(command []string, s *start) error {
	path, err := lookPath(command[0])
	if err != nil {
		return err
	}
	in.program, err = syscall.ForkExec(path, command, &syscall.ProcAttr{Dir: s.Dir, Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("%s: %w", command[0], exec.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", command[0], errNotExecutable, err)
	}
	return say(in.pair, word{Started: true})
}

// await reaps whoever ends inside, until the program does; then this process ends, and all that is left inside with it.
func (in *inner) await() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == nil && pid == in.program {
			raw := uint32(status)
			_ = say(in.pair, word{Exited: &raw}) // if nobody hears it, nobody wants to know
			os.Exit(0)
		}
		if errors.Is(err, syscall.ECHILD) {
			os.Exit(ExitUncontained)
		}
	}
}
