package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

// newGuard refuses what is not in this version: who asks for a firewall must not believe that there is one.
func newGuard() *cobra.Command {
	return &cobra.Command{
		Use:    "guard on|off|status|print",
		Short:  "The host's firewall guard, which is not in this version",
		Long:   "The host's firewall guard is not in this version: nothing guards this host, and nothing is changed.\n\n" + withoutGuard + ".",
		Hidden: true,

		DisableFlagParsing: true, // whatever is asked for, the answer is the same
		RunE:               func(*cobra.Command, []string) error { return errNoGuard },
	}
}

const withoutGuard = "Without it, `watertight exec -- COMMAND` holds one program, and docs/transparent.md has rules of nftables for a host"

var errNoGuard = usageError{errors.New("`watertight guard` is not in this version: nothing guards this host, and nothing was changed\n" + withoutGuard)}
