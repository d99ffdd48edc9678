package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// exitUncontained is the exit code of `watertight exec` where the program was not started, whatever the reason but that there is
// no such program.
const exitUncontained = 125

// codeError is an error with an exit code of its own.
type codeError struct {
	code int
	err  error
}

func (e codeError) Error() string { return e.err.Error() }
func (e codeError) Unwrap() error { return e.err }

// execCommand is the command without what it does, which is of Linux.
func execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARGUMENT…]",
		Short: "Run any program so that all its traffic and DNS can only go through a channel: no root, no settings",
		Long: "Runs COMMAND in namespaces of its own, in which there is no way out but the channels of the configuration: programs\n" +
			"that ignore proxy settings, have their own resolver or use UDP are held like any other. It starts when the resolver has\n" +
			"answered; where it cannot be contained it never starts, and the exit code is 125.\n\n" +
			"The exit code is COMMAND's own, 128+N if signal N ended it, 127 if it is not found and 126 if it cannot be executed.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return usageError{fmt.Errorf("no program is given: `watertight exec -- COMMAND`")}
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false) // the flags behind COMMAND are its own
	return cmd
}
