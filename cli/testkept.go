package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/control"
	"watertight/leaktest/history"
	"watertight/state"
)

// usualOutcomes is how many outcomes are shown where nothing is said of it.
const usualOutcomes = 20

func newTestHistory() *cobra.Command {
	var o options
	var asJSON, reports bool
	var since string
	last := usualOutcomes
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Tell what came of the leak tests that the proxy has made",
		Long: "Shows the outcomes of the tests that the running proxy has made by itself (`leaktest` in the configuration), and of those\n" +
			"that were asked for, the latest first. Where no proxy runs with the configuration, its history file is read.\n\n" +
			"--json --reports prints every outcome with its whole report, evidence and all.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := history.Filter{Last: last, Reports: reports}
			var err error
			if f.Since, err = sinceOf(since, time.Now()); err != nil {
				return usageError{err}
			}
			switch {
			case last < 1 || last > history.MaxRead:
				return usageError{fmt.Errorf("--last: %d is not from 1 to %d", last, history.MaxRead)}
			case reports && !asJSON:
				return usageError{errors.New("--reports prints JSON: write --json too")}
			}
			outcomes, err := o.outcomes(cmd.Context(), f)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, struct {
					Outcomes []control.Outcome `json:"outcomes"`
				}{outcomes})
			}
			return showOutcomes(cmd, outcomes)
		},
	}
	o.addRunning(cmd)
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.BoolVar(&reports, "reports", false, "with --json: print the whole report of each outcome")
	f.StringVar(&since, "since", "", "leave out what is older than `TIME`: 24h, 7d, 2026-06-01 or 2026-06-01T12:00:00Z")
	f.IntVar(&last, "last", usualOutcomes, "show the latest `N`")
	return cmd
}

// sinceOf reads a time, or how long ago it was. An empty text is the beginning.
func sinceOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if n := len(text) - 1; text[n] == 'd' {
		if days, err := strconv.Atoi(text[:n]); err == nil && days >= 0 && days <= 36_500 {
			return now.AddDate(0, 0, -days), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--since: %q is no time; write 24h, 7d, 2026-06-01 or 2026-06-01T12:00:00Z", text)
}

// outcomes asks the running proxy, or reads the file of the configuration.
func (o *options) outcomes(ctx context.Context, f history.Filter) ([]control.Outcome, error) {
	socket, err := o.socket(ctx)
	if err == nil {
		return control.FetchOutcomes(ctx, socket, f)
	}
	if !errors.Is(err, control.ErrNotRunning) || len(o.over.Listen) > 0 {
		return nil, err
	}
	c, err := config.Load(o.file, config.Overrides{})
	if err != nil {
		return nil, usageError{err}
	}
	path, err := historyOf(c)
	if err != nil {
		return nil, err
	}
	h, err := history.New(path, c.LeakTest.Keep, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	runs, err := h.Read(ctx, f)
	outcomes := []control.Outcome{}
	for _, r := range runs {
		outcomes = append(outcomes, control.OutcomeOf(r))
	}
	return outcomes, err
}

// historyOf gives the history file of a configuration that no proxy runs with.
func historyOf(c *config.Config) (string, error) {
	dir := c.State
	if dir == "" {
		dir = state.Default(os.LookupEnv)
	}
	switch {
	case c.LeakTest.IsZero():
		return "", usageError{errors.New("no proxy runs with this configuration, and it has no `leaktest`: nothing is kept")}
	case c.LeakTest.History == config.NoState, c.LeakTest.History == "" && (dir == "" || dir == config.NoState):
		return "", usageError{errors.New("no proxy runs with this configuration, and it keeps no outcomes")}
	case c.LeakTest.History != "":
		return c.LeakTest.History, nil
	}
	return filepath.Join(dir, history.File), nil
}

func showOutcomes(cmd *cobra.Command, outcomes []control.Outcome) error {
	if len(outcomes) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "no outcomes are kept")
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "BEGAN\tVERDICT\tCAUSE\tSEALED\tLEAK\tINCONCLUSIVE\tSKIPPED\tTOOK")
	for _, o := range outcomes {
		took := (time.Duration(o.TookMS) * time.Millisecond).Round(100 * time.Millisecond)
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", o.At.Local().Format(time.DateTime), o.Verdict, o.Cause,
			o.Cases.Sealed, o.Cases.Leak, o.Cases.Inconclusive, o.Cases.Skipped, took)
	}
	return w.Flush()
}

func newTestAccept() *cobra.Command {
	var o options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "accept",
		Short: "Open by your word what a leak has closed",
		Long: "With `on_leak: close` nothing goes out by any channel once a leak is found, until a test is clean. This opens by your\n" +
			"word: the cases that found the leak close no more, until a test was clean; another leak closes again.\n\n" +
			"The running proxy is found by its configuration's path, or by an address on which it listens now.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			socket, err := o.socket(cmd.Context())
			if err != nil {
				return err
			}
			was, err := control.Accept(cmd.Context(), socket)
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(cmd, map[string]any{"was": was})
			case was == nil:
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "nothing was closed")
			default:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "open; it was closed: %s\n", was)
			}
			return err
		},
	}
	o.addRunning(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
