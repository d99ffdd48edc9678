package cli

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"watertight/demo"
)

func newDemo() *cobra.Command {
	var asJSON, fast bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a client leak, the same client sealed, and the proof: offline, without root, under 20 seconds",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := demo.Options{Out: cmd.OutOrStdout(), JSON: asJSON, Pause: demo.DefaultPause}
			if f, ok := o.Out.(*os.File); ok {
				o.Color = !asJSON && demo.ColorFor(f)
			}
			if asJSON || fast {
				o.Pause = 0 * time.Second
			}
			err := demo.Run(cmd.Context(), o)
			if errors.Is(err, demo.ErrNotHeld) || errors.Is(err, demo.ErrNotShown) {
				return quietError{exitFailed} // it has said so itself
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document and nothing else")
	cmd.Flags().BoolVar(&fast, "fast", false, "do not pause for the eye")
	return cmd
}
