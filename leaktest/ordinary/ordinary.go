// Package ordinary lets this host look a name up as any program on it does that knows of no proxy: the positive control of the
// leak test, which shows that a leak would be seen.
//
// It promises that the look-up is made by another program, getent(1), and not in this process; that it is for the name of a
// visit to a canary and for no other; and that nothing of the answer is used.
package ordinary

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"watertight/visit"
)

// limit is how long the look-up may take: as long as resolv.conf(5) has it by default, for both families.
const limit = 12 * time.Second

// programs are where getent is.
var programs = []string{"/usr/bin/getent", "/bin/getent", "/usr/local/bin/getent"}

// ErrNone is returned where this host has no getent.
var ErrNone = errors.New("this host has no getent to look a name up with")

// Ask lets the host look a name up. The error is for a look-up that was not made, or found nothing.
func Ask(ctx context.Context, host string) error {
	label, zone, _ := strings.Cut(host, ".")
	if !visit.IsLabel(label) || zone == "" {
		return fmt.Errorf("ordinary: %w", visit.ErrNoVisit)
	}
	for _, program := range programs {
		if _, err := os.Stat(program); err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, "ahosts", host)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
		cmd.WaitDelay = time.Second
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("the host's resolver found nothing: %w", err)
		}
		return nil
	}
	return ErrNone
}
