package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"watertight/control"
)

func newCache() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Empty the caches of a running proxy",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCacheFlush())
	return cmd
}

func newCacheFlush() *cobra.Command {
	var o options
	var channel string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "flush",
		Short: "Empty the caches of a running proxy, or that of one channel",
		Long: "Empties the cache of every channel, or of the one that --channel names, closes its connections to resolvers and\n" +
			"forgets its TLS sessions, with resolvers and with proxies, and remembered failures: what is asked for next is asked for\n" +
			"anew. A channel whose exit resolves has no cache, and forgets the rest. Tunnels are not touched.\n\n" +
			"The running proxy is found by its configuration's path, or by an address on which it listens now.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			socket, err := o.socket(cmd.Context())
			if err != nil {
				return err
			}
			done, err := control.Flush(cmd.Context(), socket, channel)
			if _, ok := errors.AsType[*control.UnknownChannelError](err); ok {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, struct {
					Flushed []control.Flushed `json:"flushed"`
				}{done})
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, f := range done {
				fmt.Fprintf(w, "flushed\t%s\t%d answers\n", f.Channel, f.Entries)
			}
			return w.Flush()
		},
	}
	o.addRunning(cmd)
	cmd.Flags().StringVar(&channel, "channel", "", "empty the cache of the channel `NAME` only")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
