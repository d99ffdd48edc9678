// Package demo shows what Watertight is for, on a private internet: a client whose names the provider reads, the same
// client through Watertight, and what happens when the resolver is gone.
//
// It promises that every claim it prints was counted in the packets of that very run, and that a claim which did not
// hold makes it fail. It needs no privilege and reaches nothing outside: where namespaces are forbidden it says what
// it could not show.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"watertight/contain"
	"watertight/demo/ordinary"
)

// Options says how to show it.
type Options struct {
	Out   io.Writer
	JSON  bool          // print one JSON document and nothing else
	Color bool          // see [ColorFor]
	Pause time.Duration // between one thing shown and the next, so that people can follow; see [DefaultPause]

	// sabotage spoils a part: the demo must notice.
	sabotage sabotage
}

// sabotage is a part that is made not to hold.
type sabotage string

const (
	mutedProvider sabotage = "muted"   // the ordinary client knows the addresses already, so that the provider reads nothing
	leakyProxy    sabotage = "leaky"   // a proxy that leaks stands in Watertight's place
	openResolver  sabotage = "open"    // the resolver is not cut off
	partingWord   sabotage = "parting" // the client's host asks the provider after the last call
)

// DefaultPause makes the whole take some ten seconds.
const DefaultPause = 450 * time.Millisecond

// limit bounds the whole demo, whatever hangs.
const limit = 60 * time.Second

// Errors of Run, besides those of the machine.
var (
	// ErrNotHeld is returned where something that was claimed did not hold.
	ErrNotHeld = errors.New("demo: not everything that was claimed held")
	// ErrNotShown is returned where this machine does not allow what the demo needs.
	ErrNotShown = errors.New("demo: it could not be shown on this machine")
)

// The demo runs in several processes of this program, told apart by this variable.
const (
	roleVar      = "WATERTIGHT_DEMO_ROLE"
	roleStage    = "stage"
	roleOrdinary = "ordinary"
	planVar      = "WATERTIGHT_DEMO_PLAN"
)

// plan is what the stage is told.
type plan struct {
	JSON, Color bool
	Sabotage    sabotage
	Pause       time.Duration
}

// Child is to be called first of all in main, before the host's resolver is disarmed: if this process is a part of the
// demo, it plays it and gives its exit code. Args are the program's, without its name.
func Child(args []string) (handled bool, code int) {
	contain.Child()
	role := os.Getenv(roleVar)
	_ = os.Unsetenv(roleVar)
	switch role {
	case roleOrdinary:
		return true, ordinary.Main(args)
	case roleStage:
		return true, stageMain()
	}
	return false, 0
}

// Run shows the demo. It gives nil only if all that it claimed held.
func Run(ctx context.Context, o Options) error {
	if o.Out == nil {
		return errors.New("demo: no output is given")
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	text, err := json.Marshal(plan{o.JSON, o.Color, o.sabotage, o.Pause})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	cmd := contain.Private(ctx, contain.Self)
	cmd.Env = append(os.Environ(), roleVar+"="+roleStage, planVar+"="+string(text))
	cmd.Stdout, cmd.Stderr = o.Out, os.Stderr
	cmd.WaitDelay = time.Second
	err = contain.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, contain.ErrForbidden), errors.As(err, &exit) && exit.ExitCode() == contain.ExitForbidden:
		return notShown(o, err)
	case ctx.Err() != nil:
		return fmt.Errorf("demo: %w", ctx.Err())
	case errors.As(err, &exit) && exit.ExitCode() == exitNotHeld:
		return ErrNotHeld
	}
	return fmt.Errorf("demo: %w", err)
}

// Exit codes of the stage.
const (
	exitFailed  = 1
	exitNotHeld = 3
)

// stageMain plays the demo inside its namespaces.
func stageMain() int {
	if err := contain.Settle(); err != nil {
		return contain.ExitForbidden
	}
	var p plan
	err := json.Unmarshal([]byte(os.Getenv(planVar)), &p)
	_ = os.Unsetenv(planVar)
	if err == nil {
		err = play(context.Background(), p, os.Stdout)
	}
	switch {
	case errors.Is(err, ErrNotHeld):
		return exitNotHeld
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		return exitFailed
	}
	return 0
}

// notShown says what could not be shown, and why.
func notShown(o Options, cause error) error {
	if o.JSON {
		r := report{Verdict: verdictNotShown, Reason: contain.ErrForbidden.Error(), Acts: []*act{}}
		if err := r.writeJSON(o.Out); err != nil {
			return err
		}
		return ErrNotShown
	}
	_, err := fmt.Fprintf(o.Out, `This machine does not let this user make network namespaces, and without a private network of
its own the demo has no provider to read packets. So none of this could be shown:

  1  an ordinary client, whose names the provider reads
  2  the same client through Watertight, of which the provider reads no name
  3  the resolver cut off, and the call failing closed

The cause: %v
To allow it, depending on the system: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1,
kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that permits unshare.
`, cause)
	return errors.Join(ErrNotShown, err)
}
