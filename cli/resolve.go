package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/daemon"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
	"watertight/state"
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
			host, err := hostOf(args[0])
			if err != nil {
				return err
			}
			types, err := typesOf(host, args[1:])
			if err != nil {
				return err
			}
			if channel != "" {
				if _, ok := c.Channel(channel); !ok {
					return usageError{fmt.Errorf("there is no channel %q; the configuration has %s", channel, strings.Join(channelsOf(c), ", "))}
				}
			}
			found, err := daemon.Resolve(cmd.Context(), c, state.Default(os.LookupEnv), channel, host, types, slog.New(newLog(cmd.ErrOrStderr(), c.Log)))
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

// hostOf reads NAME. People paste URLs and targets: they are told what to leave out.
func hostOf(s string) (name.Host, error) {
	host, err := name.ParseHost(s)
	if err == nil {
		return host, nil
	}
	if u, urlErr := url.Parse(s); urlErr == nil && u.Host != "" {
		if _, err := name.ParseHost(u.Hostname()); err == nil {
			return host, usageError{fmt.Errorf("a name is resolved, not a URL: write %s", u.Hostname())}
		}
	}
	if t, targetErr := name.Parse(s); targetErr == nil {
		return host, usageError{fmt.Errorf("a name is resolved without a port: write %s", t.Host())}
	}
	return host, usageError{fmt.Errorf("%q: %w", s, err)}
}

// typesOf reads TYPE, if it is given. An address is asked for its name, and for nothing else.
func typesOf(host name.Host, given []string) ([]dnswire.Type, error) {
	_, isAddr := host.Addr()
	if len(given) == 0 {
		if isAddr {
			return []dnswire.Type{dnswire.PTR}, nil
		}
		return []dnswire.Type{dnswire.AAAA, dnswire.A}, nil
	}
	t, err := dnswire.ParseType(given[0])
	if err != nil {
		return nil, usageError{err}
	}
	if isAddr && t != dnswire.PTR {
		return nil, usageError{fmt.Errorf("%s is an address: only its name can be asked for, which is type PTR", host)}
	}
	return []dnswire.Type{t}, nil
}

func channelsOf(c *config.Config) []string {
	var names []string
	for _, ch := range c.Channels {
		names = append(names, ch.Name)
	}
	return names
}

// printResolution writes all at once: who reads along gets the whole answer, or nothing.
func printResolution(cmd *cobra.Command, r *daemon.Resolution) {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "name\t%s\n", r.Name)
	if r.Error != nil {
		fmt.Fprintf(w, "error\t%s (%s)\n", r.Error.Message, r.Error.Code)
	} else {
		fmt.Fprintf(w, "channel\t%s\n", r.Channel)
	}
	if len(r.Path) > 0 {
		fmt.Fprintf(w, "path\t%s\n", strings.Join(r.Path, " -> "))
	}
	for _, a := range r.Answers {
		if a.Error != nil {
			fmt.Fprintf(w, "%s\t%s (%s)\n", a.Type, a.Error.Message, a.Error.Code)
		}
		for _, rec := range a.Records {
			fmt.Fprintf(w, "%s\t%s\tTTL %d s\n", a.Type, rec.Data, rec.TTL)
		}
		if a.Resolver != "" {
			fmt.Fprintf(w, "\tfrom %s in %.1f ms\n", a.Resolver, a.TookMS)
		}
	}
	_ = w.Flush()                                // it is memory
	_, _ = cmd.OutOrStdout().Write(text.Bytes()) // the terminal's trouble is not ours
	if f := r.Error; f != nil && f.Hint != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "hint: "+f.Hint)
		return
	}
	if !r.Failed() { // that one family has no record is nothing to mend
		return
	}
	if hint := hintOf(r.Answers); hint != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "hint: "+hint)
	}
}

// hintOf gives the hint of the first fault. That a family has no record says little where the question for the other one
// failed.
func hintOf(answers []daemon.Answer) string {
	hint := ""
	for _, a := range answers {
		switch {
		case a.Error == nil || a.Error.Hint == "":
		case a.Error.Code != fault.DNSNoData:
			return a.Error.Hint
		case hint == "":
			hint = a.Error.Hint
		}
	}
	return hint
}
