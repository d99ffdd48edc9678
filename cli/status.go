package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"watertight/control"
)

func newReload() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Let the running proxy read its configuration again",
		Long: "The proxy builds the new configuration beside the old, swaps, and lets the old drain: no connection is dropped. An\n" +
			"invalid configuration changes nothing, and its errors are printed.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			socket, err := o.socket(cmd.Context())
			if err != nil {
				return err
			}
			if err := control.Reload(cmd.Context(), socket); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "reloaded")
			return err
		},
	}
	o.addRunning(cmd)
	return cmd
}

func newStatus() *cobra.Command {
	var o options
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell what a running proxy is doing",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			socket, err := o.socket(cmd.Context())
			if err != nil {
				return err
			}
			err = showStatus(cmd, socket, asJSON)
			for watch && err == nil {
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(watchPause):
				}
				if !asJSON {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				err = showStatus(cmd, socket, asJSON)
			}
			return err
		},
	}
	o.addRunning(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "print it again every two seconds, until interrupted")
	return cmd
}

// watchPause is the time between two looks of `status --watch`.
const watchPause = 2 * time.Second

func showStatus(cmd *cobra.Command, socket string, asJSON bool) error {
	s, err := control.FetchStatus(cmd.Context(), socket)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd, s)
	}
	return control.RenderStatus(cmd.OutOrStdout(), s)
}

// addRunning adds the flags that say which running proxy is meant.
func (o *options) addRunning(cmd *cobra.Command) {
	o.addFile(cmd)
	o.addListen(cmd, "the `ADDR` on which the proxy listens, instead of what the configuration says")
}

// socket gives the control socket of the proxy that runs with this configuration.
func (o *options) socket(ctx context.Context) (string, error) {
	c, err := o.load()
	if err != nil {
		return "", err
	}
	return control.Find(ctx, c.Listen.Proxy[0].Address.String())
}
