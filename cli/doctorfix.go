package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"watertight/doctor"
)

// maxChanges bounds `doctor --fix`: after each change the host is looked at again.
const maxChanges = 100

// mend makes the changes that are safe, one after the other, each on a host that was looked at after the one before.
func (o *doctorFlags) mend(cmd *cobra.Command, picked []doctor.Rule) error {
	if in, ok := cmd.InOrStdin().(*os.File); ok && !o.yes && !term.IsTerminal(int(in.Fd())) {
		return usageError{errors.New("--fix asks before each change, and there is no terminal to ask on: add --yes to make them all")}
	}
	answers := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1<<16))
	seen, failed := map[string]bool{}, false
	var last doctor.Report
	for range maxChanges {
		r, h, err := o.look(cmd.Context(), picked)
		if err != nil {
			return err
		}
		last = r
		f := next(r, seen)
		if f == nil {
			_ = h.Close() // nothing was written through it
			break
		}
		err = o.change(cmd, h, *f, answers)
		_ = h.Close() // what was written is written
		if err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "watertight: %s: %v\n", f.ID, err)
			failed = true
		}
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
	}
	if err := doctor.Render(cmd.OutOrStdout(), last); err != nil {
		return err
	}
	if failed && !last.Bad() {
		return quietError{exitFailed}
	}
	return ending(cmd, last)
}

// next gives the first finding with a change that was not offered yet.
func next(r doctor.Report, seen map[string]bool) *doctor.Finding {
	for _, f := range r.Findings {
		if f.Change == nil || seen[f.Change.Path+f.Change.Diff] {
			continue
		}
		seen[f.Change.Path+f.Change.Diff] = true
		return &f
	}
	return nil
}

// change shows a change, asks, and makes it.
func (o *doctorFlags) change(cmd *cobra.Command, h *doctor.Host, f doctor.Finding, answers *bufio.Reader) error {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %s\n%s", f.ID, f.Fact, f.Change.Diff)
	if !o.yes {
		fmt.Fprint(out, "make this change? [y/N] ")
		line, err := answers.ReadString('\n')
		if err != nil && line == "" {
			return fmt.Errorf("no answer: %w", err)
		}
		if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
			fmt.Fprintln(out, "left as it is")
			return nil
		}
	}
	saved, err := h.Apply(f.Change)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "changed; what was there is in %s\n\n", saved)
	return nil
}

// Pauses of `doctor --watch`: between two looks there is at least the first, and so much more than the last look took.
const (
	doctorPause = 5 * time.Second
	doctorShare = 20
)

// watch looks again and again, and prints what came and what went. It ends well when it is interrupted.
func (o *doctorFlags) watch(cmd *cobra.Command, picked []doctor.Rule) error {
	known := map[string]doctor.Finding{}
	for first := true; ; first = false {
		began := time.Now()
		r, h, err := o.look(cmd.Context(), picked)
		if err != nil && first {
			return err
		}
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "watertight: "+err.Error()) // a configuration that is being written; it goes on
		} else {
			_ = h.Close() // nothing was written through it
			if cmd.Context().Err() == nil {
				known, err = o.news(cmd, known, r)
			}
			if err != nil {
				return err
			}
		}
		if first && !o.json {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s; watching, until interrupted\n", doctor.Summary(r))
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(max(doctorPause, doctorShare*time.Since(began))):
		}
	}
}

// news prints what came and went since the last look. What a rule found that did not finish this time is not gone.
func (o *doctorFlags) news(cmd *cobra.Command, known map[string]doctor.Finding, r doctor.Report) (map[string]doctor.Finding, error) {
	now := map[string]doctor.Finding{}
	for _, f := range r.Findings {
		now[f.ID+" "+f.Fact] = f
		if _, ok := known[f.ID+" "+f.Fact]; !ok {
			if err := o.tellNews(cmd, "new", f); err != nil {
				return now, err
			}
		}
	}
	unfinished := map[string]bool{}
	for _, u := range r.Unfinished {
		unfinished[u.ID] = true
	}
	for key, f := range known {
		if _, ok := now[key]; ok {
			continue
		}
		if unfinished[f.ID] {
			now[key] = f
		} else if err := o.tellNews(cmd, "resolved", f); err != nil {
			return now, err
		}
	}
	return now, nil
}

func (o *doctorFlags) tellNews(cmd *cobra.Command, event string, f doctor.Finding) error {
	if o.json {
		return printJSONLine(cmd, struct {
			Time    time.Time      `json:"time"`
			Event   string         `json:"event"` // new or resolved
			Finding doctor.Finding `json:"finding"`
		}{time.Now().UTC(), event, f})
	}
	var b strings.Builder
	if event == "resolved" {
		fmt.Fprintf(&b, "RESOLVED\n  %s  %s\n\n", f.ID, f.Fact)
	} else {
		b.WriteString("NEW, " + strings.ToUpper(f.Severity.String()) + "\n")
		doctor.RenderFinding(&b, f)
	}
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}
