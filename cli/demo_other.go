//go:build !linux

package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

// newDemo says why there is no demonstration here: it plays in network namespaces, which only Linux has.
func newDemo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Watch a client leak, the same client sealed, and the proof (Linux only)",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("the demonstration needs the network namespaces of Linux; `watertight run` works here")
		},
	}
}
