package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"watertight/config"
	"watertight/contain"
	"watertight/contain/hull"
	"watertight/hop"
)

// ExecOptions is what [Exec] needs.
type ExecOptions struct {
	// Load reads the configuration. Its listeners are not opened.
	Load   func() (*config.Config, error)
	Ground hop.Ground
	// Channel carries everything, whatever the routes say. Empty leaves it to the routes.
	Channel string
	// State is the directory in which earlier runs kept what they learnt. Empty knows of none.
	State string
	// Log makes the log, once the configuration is read.
	Log func(*config.Config) *slog.Logger
	// RealAddresses gives the program the addresses of the network, for one that must see them.
	RealAddresses bool
	// Command is the program with its arguments, and Env its environment.
	Command, Env []string
	// Setup is what the program finds around it.
	Setup contain.Setup
	// Publish are ports of the program that are reachable on this host.
	Publish []Publish
	// Signals are those that the program is to get.
	Signals <-chan syscall.Signal
	// Held is told what stands around the program, once it is started. Nil tells nobody.
	Held func(hull.Report)
	// Did is told what became of what the program sent, once it has ended. Nil tells nobody.
	Did func(Summary)
}

func (o ExecOptions) validate() error {
	switch {
	case o.Load == nil || o.Log == nil:
		return errors.New("daemon: exec needs a configuration and a log")
	case o.Ground == nil:
		return errors.New("daemon: exec needs a ground to stand on")
	case len(o.Command) == 0 || o.Setup.Dir == "":
		return errors.New("daemon: exec needs a program and its working directory")
	}
	return nil
}

// Exec runs a program whose packets can go nowhere but through the channels of a configuration, and gives how it ended. It is
// started when the resolver of each channel that it can use has answered, and a question of its own kind, from inside, has had its
// answer. Otherwise the error says why not, and it never ran: a [*contain.NotStarted], or an [InvalidError] for the
// configuration. When ctx ends before the program was started, it is not.
func Exec(ctx context.Context, o ExecOptions) (syscall.WaitStatus, error) {
	if err := o.validate(); err != nil {
		return 0, err
	}
	began := make(chan func() (*contain.Program, error), 1)
	go func() { // it makes its network and its hull while the configuration is read and the resolvers are asked
		program, err := contain.Begin(o.Command, o.Env, o.Setup)
		began <- func() (*contain.Program, error) { return program, err }
	}()
	h, unheld := newHold(o)
	if unheld == nil {
		defer h.close()
	}
	program, err := (<-began)()
	if err != nil {
		return 0, err
	}
	defer program.Close()
	if unheld != nil {
		return 0, unheld
	}
	ports, err := h.around(ctx, program, o)
	if err != nil {
		return 0, err
	}
	h.serving.Go(func() { ports.serve(h.ctx) })
	if err := program.Start(ctx); err != nil {
		return 0, err
	}
	if o.Held != nil {
		o.Held(program.Report())
	}
	return ended(program, o.Signals, func() {
		if o.Did != nil {
			o.Did(summaryOf(h.door, &h.told))
		}
		h.report()
		h.stop()
	})
}

// around has all that a program needs ready around it: the resolvers have answered, and meanwhile its sockets are served, its ports
// opened, and a question from inside has had its answer.
func (h *hold) around(ctx context.Context, program *contain.Program, o ExecOptions) (*published, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var ports *published
	var resolvers sync.WaitGroup
	resolvers.Go(func() {
		if err := h.ready(ctx); err != nil {
			fail(err)
		}
	})
	sockets, err := program.Sockets(ctx)
	if err == nil {
		err = h.serve(sockets, program.ReplyFrom, o.RealAddresses)
	}
	if err == nil {
		ports, err = reachable(ctx, program, o.Publish, sockets.TCP6 != nil)
	}
	if err != nil {
		fail(err)
	}
	resolvers.Wait()
	if err := context.Cause(ctx); err != nil { // the first fault
		if ports != nil {
			ports.close()
		}
		return nil, err
	}
	return ports, nil
}

// reachable opens the ports of a program that is about to start, and asks a question from inside, as it will. Where both are well the
// caller serves the ports.
func reachable(ctx context.Context, program *contain.Program, ports []Publish, v6 bool) (*published, error) {
	opened, err := publish(ports, program.Dial)
	if err != nil {
		return nil, &contain.NotStarted{Code: contain.ExitUncontained, Err: err}
	}
	if err := probe(ctx, program.Dial, v6); err != nil {
		opened.close()
		return nil, &contain.NotStarted{Code: contain.ExitUncontained, Err: err}
	}
	return opened, nil
}

// ended waits for a program that was started, which has the terminal and the signals meanwhile. It calls over when the program has
// ended, while what is left inside is.
func ended(program *contain.Program, signals <-chan syscall.Signal, over func()) (syscall.WaitStatus, error) {
	defer hull.Terminal()()
	defer forward(signals, program.Signal)()
	<-program.Ended()
	over()
	return program.Wait()
}

// forward passes signals on until the function it gives is called.
func forward(signals <-chan syscall.Signal, to func(syscall.Signal) error) (stop func()) {
	done := make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			select {
			case s := <-signals:
				_ = to(s) // a program that is gone needs none
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		passing.Wait()
	}
}

// InvalidError is that the configuration, or what was asked beside it, is at fault.
type InvalidError struct{ Err error }

func (e InvalidError) Error() string { return e.Err.Error() }

// Unwrap gives the fault.
func (e InvalidError) Unwrap() error { return e.Err }

// onlyThrough gives a configuration by which everything takes one channel.
func onlyThrough(c *config.Config, channel string) (*config.Config, error) {
	if channel == "" {
		return c, nil
	}
	if _, ok := c.Channel(channel); !ok {
		return nil, InvalidError{fmt.Errorf("there is no channel %q; the configuration has %s", channel, namesOfChannels(c))}
	}
	one := *c
	one.Routes = []config.Route{{To: everyHost(), Channel: channel}}
	return &one, nil
}

// readyToRun is how long the resolvers have to answer for the first time.
const readyToRun = 30 * time.Second
