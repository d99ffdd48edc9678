package contain

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"watertight/contain/hull"
	"watertight/contain/network"
	"watertight/wire"
)

// innerName is how argv[0] of this program begins when it is the first process of a contained program's namespaces; the number of
// the descriptor that is its connection to the process outside is the rest, and the program and its arguments follow.
const innerName = "watertight-contained-"

// Exit codes that shells give for a program that cannot be run (POSIX.1-2024, Shell, section 2.8.2).
const (
	exitNotFound      = 127
	exitNotExecutable = 126
)

// inner is the first process inside. It makes the network, hands its sockets out, opens others when asked, and starts the program
// when told to. It ends with the program, or with the process outside; and all that is inside ends with it.
type inner struct {
	pair    *net.UnixConn
	v6      bool          // that there is an IPv6 network
	hull    chan entered  // nil before it is asked for; it is made while the resolvers are asked outside
	program *hull.Program // once it is started

	dialling chan struct{} // has an element for each connection that is being made
}

// runInner is main of the first process inside, and gives its exit code. What fails is said to the process outside.
func runInner(pairFD string, command []string) int {
	fd, err := strconv.ParseUint(pairFD, 10, 16)
	if err != nil {
		fmt.Fprintln(os.Stderr, "watertight: the first process of a contained program is not started by hand")
		return ExitUncontained
	}
	pair, err := wire.Inherited(int(fd))
	if err != nil {
		fmt.Fprintln(os.Stderr, "watertight:", err)
		return ExitUncontained
	}
	in := &inner{pair: pair, dialling: make(chan struct{}, maxDialling)}
	listed := make(chan func() ([]string, error), 1)
	go func() {
		sockets, err := hull.Sockets()
		listed <- func() ([]string, error) { return sockets, err }
	}()
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
		case o.Setup != nil && in.hull == nil:
			in.hull = make(chan entered, 1)
			go func() {
				var h *hull.Hull
				sockets, err := (<-listed)()
				if err == nil {
					h, err = hull.Enter(o.Setup.plan(in.v6), sockets)
				}
				in.hull <- entered{h, err}
			}()
		case o.Start && in.hull != nil && in.program == nil:
			if err := in.start(command); err != nil {
				return in.fail(err)
			}
			go in.await()
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
	if e, ok := hull.IsError(err); ok && e.Part == hull.PartProgram {
		code = exitNotExecutable
		if errors.Is(err, syscall.ENOENT) {
			code = exitNotFound
		}
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
	in.v6 = s.TCP6 != nil
	var kinds []string
	var sockets []syscall.Conn
	for kind, socket := range s.All() {
		kinds, sockets = append(kinds, kind), append(sockets, socket)
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
	select {
	case in.dialling <- struct{}{}:
	default:
		return say(in.pair, word{ID: o.ID, Failed: "too many connections are being made"})
	}
	go func() { // a program that does not accept holds nobody else up
		defer func() { <-in.dialling }()
		c, err := wire.DialContained(o.Dial, o.To)
		if err != nil {
			_ = say(in.pair, word{ID: o.ID, Failed: err.Error()}) // if nobody hears it, the loop ends
			return
		}
		defer c.Close()
		_ = say(in.pair, word{ID: o.ID, Sockets: []string{o.Dial}}, c.(syscall.Conn))
	}()
	return nil
}

// maxDialling bounds the connections that are being made at one time.
const maxDialling = 64

// entered is the hull, or why there is none.
type entered struct {
	hull *hull.Hull
	err  error
}

// start starts the program, in the hull once that is made.
func (in *inner) start(command []string) error {
	e := <-in.hull
	if e.err != nil {
		return e.err
	}
	var err error
	if in.program, err = e.hull.Start(command); err != nil {
		return err
	}
	report := e.hull.Report()
	report.Masked, report.Covered, report.Allowed = some(report.Masked), some(report.Covered), some(report.Allowed)
	return say(in.pair, word{Started: true, Report: &report})
}

// Bounds of a list in a report.
const (
	maxListed     = 64
	maxListedText = 4 << 10 // octets, each list
)

// some gives as much of a list as a message has room for, and says how much is left out.
func some(list []string) []string {
	octets := 0
	for i, s := range list {
		if octets += len(s); i == maxListed || octets > maxListedText {
			return append(list[:i:i], fmt.Sprintf("and %d more", len(list)-i))
		}
	}
	return list
}

// await waits for the end of the program, and ends this process; and all that is left inside ends with it.
func (in *inner) await() {
	status, err := in.program.Wait()
	if err != nil {
		os.Exit(in.fail(err))
	}
	raw := uint32(status)
	_ = say(in.pair, word{Exited: &raw}) // if nobody hears it, nobody wants to know
	os.Exit(0)
}
