//go:build !linux

package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

// newExec says why nothing is contained here: it takes the namespaces of Linux.
func newExec() *cobra.Command {
	cmd := execCommand()
	cmd.DisableFlagParsing = true
	cmd.RunE = func(*cobra.Command, []string) error {
		return codeError{exitUncontained, errors.New("exec needs the namespaces of Linux; `watertight run` works here, for programs that take a proxy")}
	}
	return cmd
}
