package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"

	"watertight/contain"
)

// containedExit is the exit code of `watertight exec` for a program that was not started.
const containedExit = contain.ExitUncontained

// Run starts this program inside of itself, by the command `exec` with flags of its own (such as -c FILE or --attach), and gives what
// it found there. The error is a [*NotStartedError] where it could not be contained: then nothing was tried.
func Run(ctx context.Context, flags []string, s Spec) ([]Outcome, error) {
	faces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	for _, f := range faces {
		if f.Flags&net.FlagLoopback == 0 && len(s.Devices) < maxList {
			s.Devices = append(s.Devices, f.Name)
		}
	}
	spec, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	args := append(append([]string{"exec"}, flags...), "--", contain.Self, argument)
	cmd := exec.CommandContext(ctx, contain.Self, args...)
	report, complaint := &limited{most: maxReport}, &limited{most: 4 << 10}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(spec), report, complaint
	cmd.WaitDelay = tryLimit
	if err := contain.Start(cmd); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("probe: it did not end: %w", context.Cause(ctx))
	case errors.As(err, &exit) && (exit.ExitCode() == containedExit || exit.ExitCode() == 2): // 2: the flags, or the configuration
		return nil, &NotStartedError{strings.TrimSpace(complaint.String())}
	case err != nil:
		return nil, fmt.Errorf("probe: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	var outcomes []Outcome
	if err := json.Unmarshal(report.Bytes(), &outcomes); err != nil {
		return nil, fmt.Errorf("probe: what it reports cannot be read: %w", err)
	}
	if len(outcomes) == 0 {
		return nil, errors.New("probe: it tried nothing")
	}
	return outcomes, nil
}

// limited keeps no more than so much of what is written to it.
type limited struct {
	bytes.Buffer
	most int
}

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > l.most {
		return 0, io.ErrShortWrite
	}
	return l.Buffer.Write(b)
}
