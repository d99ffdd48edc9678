package contain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"watertight/contain/hull"
	"watertight/contain/network"
	"watertight/wire"
)

// Program is a program in namespaces of its own, without any way out but the sockets that it hands to this process.
//
// The order of calls is [Begin], [Program.Sockets], then [Program.Dial] and [Program.ReplyFrom] as wanted, [Program.Start],
// [Program.Wait], [Program.Close]. The program itself runs from Start on, and ends with this process at the latest.
type Program struct {
	command []string
	cmd     *exec.Cmd
	pair    *net.UnixConn

	placed  chan struct{}        // closed when the setup was sent, or cannot be
	sockets chan network.Sockets // the first word
	started chan struct{}        // closed; report is set then
	report  hull.Report
	gone    chan struct{} // closed when the pair has ended, or was failed; what follows is set then
	failed  error
	status  *syscall.WaitStatus

	mu      sync.Mutex
	asked   int
	answers map[int]chan answer
	done    bool  // guarded by mu: gone is closed
	unfit   error // guarded by mu: why the setup cannot be sent
}

type answer struct {
	file *os.File
	err  error
}

// NotStarted is why a program was not started: with the exit code that stands for it. It never ran.
type NotStarted struct {
	Code int // 125, 126 or 127
	Err  error
}

func (e *NotStarted) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *NotStarted) Unwrap() error { return e.Err }

// Streams are a program's input, output and errors.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Begin makes the namespaces of a program, in which its network and its hull are made at once. env is its environment. It gets this process's
// input, output and errors, and its terminal.
func Begin(command, env []string, setup Setup) (*Program, error) {
	return BeginWith(command, env, setup, Streams{os.Stdin, os.Stdout, os.Stderr})
}

// BeginWith is Begin with other streams than this process's. A nil one is an error.
func BeginWith(command, env []string, setup Setup, streams Streams) (*Program, error) {
	if streams.In == nil || streams.Out == nil || streams.Err == nil {
		return nil, errors.New("contain: a program needs its input, output and errors")
	}
	if len(command) == 0 || command[0] == "" {
		return nil, errors.New("contain: a program has no name")
	}
	if len(os.Args) > 0 && os.Args[0] == innerName { // else it would start itself without end
		return nil, errors.New("contain: main does not call Child")
	}
	attr, err := hull.Attr()
	if err != nil {
		return nil, err
	}
	files, pair, err := kept(setup.Keep)
	if err != nil {
		return nil, &NotStarted{ExitUncontained, err}
	}
	here, there, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer there.Close()
	cmd := exec.Command(Self, command...)
	cmd.Args[0] = innerName + strconv.Itoa(firstExtra+pair)
	cmd.Env = env
	if env == nil {
		cmd.Env = []string{}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = streams.In, streams.Out, streams.Err
	files[pair] = there
	cmd.ExtraFiles = files
	cmd.SysProcAttr = attr
	if err := Start(cmd); err != nil {
		_ = here.Close()
		if errors.Is(err, ErrForbidden) {
			err = forbidden(err, perhapsChroot)
		}
		return nil, &NotStarted{ExitUncontained, err}
	}
	p := &Program{
		command: command, cmd: cmd, pair: here, answers: map[int]chan answer{}, placed: make(chan struct{}),
		sockets: make(chan network.Sockets, 1), started: make(chan struct{}), gone: make(chan struct{}),
	}
	go p.listen()
	go p.place(setup)
	return p, nil
}

// listen hears what the first process inside says, until it ends.
func (p *Program) listen() {
	b := make([]byte, maxTalk)
	err := errors.New("the first process of its namespaces ended")
	for {
		var w word
		files, herr := hear(p.pair, b, &w)
		if herr != nil {
			break
		}
		if w.Exited != nil {
			status := syscall.WaitStatus(*w.Exited)
			p.status = &status
			closeAll(files)
			break
		}
		if w.ID == 0 && w.Failed != "" {
			err = &NotStarted{w.Code, errors.New(w.Failed)}
			closeAll(files)
			break
		}
		p.take(w, files)
	}
	p.mu.Lock()
	if p.unfit != nil {
		err = &NotStarted{ExitUncontained, p.unfit}
	}
	p.failed, p.done = err, true
	answers := p.answers
	p.answers = nil
	p.mu.Unlock()
	for _, waiting := range answers {
		waiting <- answer{err: err}
	}
	close(p.gone)
}

// take takes a word that is no end.
func (p *Program) take(w word, files []*os.File) {
	switch {
	case w.Started:
		closeAll(files)
		if w.Report != nil {
			p.report = *w.Report
		}
		close(p.started)
	case w.ID != 0:
		p.mu.Lock()
		waiting := p.answers[w.ID]
		delete(p.answers, w.ID)
		p.mu.Unlock()
		a := answer{err: errors.New(w.Failed)}
		if len(files) == 1 && w.Failed == "" {
			a = answer{file: files[0]}
			files = nil
		}
		closeAll(files)
		if waiting != nil {
			waiting <- a
		} else if a.file != nil {
			_ = a.file.Close()
		}
	default:
		if s, err := socketsOf(w.Sockets, files); err == nil {
			p.sockets <- s
		}
	}
}

func socketsOf(kinds []string, files []*os.File) (s network.Sockets, err error) {
	if len(kinds) != len(files) {
		closeAll(files)
		return s, errors.New("contain: sockets are missing")
	}
	for i, f := range files {
		var e error
		switch kinds[i] {
		case "tcp4":
			s.TCP4, e = wire.ListenerOf(f)
		case "tcp6":
			s.TCP6, e = wire.ListenerOf(f)
		case "dns":
			s.DNS, e = wire.ListenerOf(f)
		case "udp4":
			s.UDP4, e = wire.UDPOf(f)
		case "udp6":
			s.UDP6, e = wire.UDPOf(f)
		case "dnsudp":
			s.DNSPackets, e = wire.UDPOf(f)
		case "icmp4":
			s.ICMP4, e = wire.IPOf(f)
		case "icmp6":
			s.ICMP6, e = wire.IPOf(f)
		default:
			e = f.Close()
		}
		err = errors.Join(err, e)
	}
	if err == nil && !s.Whole() {
		err = errors.New("contain: sockets are missing")
	}
	if err != nil {
		_ = s.Close()
	}
	return s, err
}

// Sockets waits for the sockets on which all arrives that is sent inside to others. The caller closes them.
func (p *Program) Sockets(ctx context.Context) (network.Sockets, error) {
	select {
	case s := <-p.sockets:
		return s, nil
	case <-p.gone:
		return network.Sockets{}, p.failed
	case <-ctx.Done():
		return network.Sockets{}, ctx.Err()
	}
}

// ReplyFrom opens a socket inside that sends from an address, whosoever it is: to answer the program in the name of whom it
// asked. It is closed with the program at the latest.
func (p *Program) ReplyFrom(at netip.AddrPort) (*net.UDPConn, error) {
	f, err := p.ask(order{From: at})
	if err != nil {
		return nil, err
	}
	return wire.UDPOf(f)
}

// Dial connects to an address from inside; network is tcp or udp. Only the program's own addresses lead to the program, and all
// others to the sockets.
func (p *Program) Dial(network string, to netip.AddrPort) (net.Conn, error) {
	f, err := p.ask(order{Dial: network, To: to})
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		return wire.TCPOf(f)
	}
	return wire.UDPOf(f)
}

// patience bounds what the first process inside may take for a socket.
const patience = 10 * time.Second

// ask asks for a socket.
func (p *Program) ask(o order) (*os.File, error) {
	waiting := make(chan answer, 1)
	p.mu.Lock()
	if p.done {
		p.mu.Unlock()
		return nil, p.failed
	}
	p.asked++
	o.ID = p.asked
	p.answers[o.ID] = waiting
	p.mu.Unlock()
	forget := func() {
		p.mu.Lock()
		delete(p.answers, o.ID)
		p.mu.Unlock()
	}
	if err := say(p.pair, o); err != nil {
		forget()
		return nil, p.why(err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a := <-waiting:
		return a.file, a.err
	case <-timer.C:
		forget()
		select {
		case a := <-waiting: // at the last moment
			return a.file, a.err
		default:
			return nil, errors.New("contain: no answer from inside")
		}
	}
}

// Start starts the program, once its hull is made. The error is a [*NotStarted] or that of ctx; the program never ran then, or
// does not any more once Close has returned.
func (p *Program) Start(ctx context.Context) error {
	select {
	case <-p.placed:
	case <-p.gone:
		return p.failed
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := say(p.pair, order{Start: true}); err != nil {
		if err = p.why(err); errors.As(err, new(*NotStarted)) {
			return err
		}
		return &NotStarted{ExitUncontained, err}
	}
	ends := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case <-p.started:
			return nil
		case <-p.gone:
			select {
			case <-p.started: // and has ended since
				return nil
			default:
				return p.failed
			}
		case <-ends: // it may run already, with the word of it under way: what ended ctx is its own then
			ends, late = nil, time.After(startUnderWay)
		case <-late:
			return ctx.Err()
		}
	}
}

// startUnderWay is how long a program that is to be started may take when it is not wanted any more.
const startUnderWay = 5 * time.Second

// Report says what stands around the program, which was started.
func (p *Program) Report() hull.Report {
	<-p.started
	return p.report
}

// Signal sends the program a signal, once it is started. One that has ended gets none.
func (p *Program) Signal(s syscall.Signal) error {
	select {
	case <-p.started:
		return p.cmd.Process.Signal(s) // the first process inside passes it on
	default:
		return nil
	}
}

// Ended is closed when the program has ended, or cannot run any more. What it has left inside may take a moment longer: see
// [Program.Wait].
func (p *Program) Ended() <-chan struct{} { return p.gone }

// Wait waits until the program has ended, and all that it has left inside, and gives how it ended. The error says that it was
// killed from outside, with all that was inside.
func (p *Program) Wait() (syscall.WaitStatus, error) {
	<-p.gone
	err := p.cmd.Wait()
	if p.status != nil {
		return *p.status, nil
	}
	if err == nil {
		err = p.failed
	}
	return 0, fmt.Errorf("contain: %s: its namespaces were ended: %w", p.command[0], err)
}

// Kill ends the program at once, and what waits for it.
func (p *Program) Kill() { _ = p.cmd.Process.Kill() } // it may have ended

// Close ends the program, if it has not ended, and lets go of its namespaces.
func (p *Program) Close() {
	_ = p.cmd.Process.Kill() // it may have ended, and have been waited for
	_ = p.pair.Close()
	<-p.gone
	_ = p.cmd.Wait()
	select {
	case s := <-p.sockets:
		_ = s.Close()
	default:
	}
}
