package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watertight/canary"
	"watertight/daemon"
	"watertight/state"
)

func newCanaryCheck() *cobra.Command {
	var o options
	var asJSON, clear bool
	var zone, channelName, authority string
	var port uint16
	cmd := &cobra.Command{
		Use:   "check ZONE",
		Short: "See whether a canary can be reached as its visitors will",
		Long: "Asks the resolver of a channel for the delegation of ZONE, its glue, its DS record and fresh names, and fetches the\n" +
			"page and the API through the channel: never by the host's resolver. Run it on a host that is not the canary's own.\n" +
			"Each finding says how to mend it; the exit code is 1 where something failed.",
		Args: func(cmd *cobra.Command, args []string) error {
			if zone != "" && len(args) == 0 {
				return nil
			}
			return argsBetween(1, 1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && zone != "" {
				return usageError{errors.New("the zone is given twice: leave out --zone")}
			}
			host, err := hostOf(append(args, zone)[0])
			if err != nil {
				return err
			}
			c, err := o.load()
			if err != nil {
				return err
			}
			if _, ok := c.Channel(channelName); channelName != "" && !ok {
				return usageError{fmt.Errorf("there is no channel %q; the configuration has %s", channelName, strings.Join(channelsOf(c), ", "))}
			}
			roots, err := rootsOf(authority)
			if err != nil {
				return err
			}
			var report *canary.CheckReport
			err = daemon.Through(cmd.Context(), c, state.Default(os.LookupEnv), channelName, host, slog.New(newLog(cmd.ErrOrStderr(), c.Log)),
				func(ctx context.Context, way *daemon.Way) (err error) {
					if err := way.Settle(ctx); err != nil {
						return fmt.Errorf("the resolver of channel %s cannot be asked: %w", way.Name(), err)
					}
					report, err = canary.Check(ctx, canary.CheckOptions{Zone: host.String(), Way: way, Roots: roots, HTTP: clear, Port: port, Now: time.Now})
					return err
				})
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd, report)
			} else {
				printCheck(cmd, report)
			}
			if err == nil && !report.OK {
				err = quietError{exitFailed}
			}
			return err
		},
	}
	o.addFile(cmd)
	o.addWay(cmd)
	o.addLog(cmd)
	f := cmd.Flags()
	f.StringVar(&zone, "zone", "", "the `ZONE`, as for `watertight canary`")
	f.StringVar(&channelName, "channel", "", "look through the channel `NAME`, whatever the routes say")
	f.StringVar(&authority, "page-ca", "", "trust the authorities of `FILE` for the page, and no others")
	f.BoolVar(&clear, "http", false, "the page is served in clear")
	f.Uint16Var(&port, "port", 0, "the page is served at `PORT`, and not at 443 or, in clear, 80")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	_ = cmd.MarkFlagFilename("page-ca", "pem", "crt") // the flag is there
	return cmd
}

// rootsOf reads the authorities of a file; nil without one.
func rootsOf(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usageError{err}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, usageError{errors.New(path + " holds no certificate in PEM")}
	}
	return roots, nil
}

func printCheck(cmd *cobra.Command, r *canary.CheckReport) {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.ID, f.State, strings.ReplaceAll(f.Fact, "\n", " "))
		if f.Fix != "" {
			fmt.Fprintf(w, "\t\tmend: %s\n", f.Fix)
		}
	}
	_ = w.Flush() // the terminal's trouble is not ours
}
