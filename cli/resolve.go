package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"watertight/daemon"
	"watertight/dnswire"
	"watertight/name"
)

func newResolve() *cobra.Command {
	var o options
	var asJSON bool
	var channel string
	cmd := &cobra.Command{
		Use:   "resolve NAME [TYPE]",
		Short: "Resolve a name as the proxy would, and show the path and the time",
		Long: "Opens the channels of the configuration, resolves NAME inside the one that the routes give it (or --channel), and\n" +
			"prints the answer. TYPE is A and AAAA together where none is given.",
		Args: argsBetween(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			types := []dnswire.Type{dnswire.AAAA, dnswire.A}
			if len(args) == 2 {
				t, err := dnswire.ParseType(args[1])
				if err != nil {
					return usageError{err}
				}
				types = []dnswire.Type{t}
			}
			host, err := name.ParseHost(args[0])
			if err != nil {
				return usageError{fmt.Errorf("%q: %w", args[0], err)}
			}
			if channel != "" {
				if _, ok := c.Channel(channel); !ok {
					return usageError{fmt.Errorf("there is no channel %q in the configuration", channel)}
				}
			}
			found, err := daemon.Resolve(cmd.Context(), c, channel, host, types)
			if err != nil {
				return err
			}
			if asJSON {
				if err := printJSON(cmd, found); err != nil {
					return err
				}
			} else {
				printResolution(cmd, found)
			}
			if found.Failed() {
				return quietError{exitFailed}
			}
			return nil
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&channel, "channel", "", "resolve inside the channel `NAME`, whatever the routes say")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printResolution(cmd *cobra.Command, r *daemon.Resolution) {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "name\t%s\n", r.Name)
	fmt.Fprintf(w, "channel\t%s\n", r.Channel)
	if len(r.Path) > 0 {
		fmt.Fprintf(w, "path\t%s\n", strings.Join(r.Path, " -> "))
	}
	for _, a := range r.Answers {
		switch {
		case a.Error != nil:
			fmt.Fprintf(w, "%s\t%s (%s)\n", a.Type, a.Error.Message, a.Error.Code)
		case len(a.Records) == 0:
			fmt.Fprintf(w, "%s\tno record\n", a.Type)
		}
		for _, rec := range a.Records {
			fmt.Fprintf(w, "%s\t%s\tTTL %d s\n", a.Type, rec.Data, rec.TTL)
		}
		if a.Resolver != "" {
			fmt.Fprintf(w, "\tfrom %s in %.1f ms\n", a.Resolver, a.TookMS)
		}
	}
	_ = w.Flush() // the terminal's trouble is not ours
	for _, a := range r.Answers {
		if a.Error != nil && a.Error.Hint != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), "hint: "+a.Error.Hint)
			break
		}
	}
}
