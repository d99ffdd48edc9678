package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/control"
	"watertight/doctor"
	"watertight/doctor/rules"
	"watertight/guard"
	"watertight/wire"
)

// doctorFlags are those of `watertight doctor`.
type doctorFlags struct {
	options
	root, explain    string
	only             []string
	json, list       bool
	fix, yes, follow bool
}

func newDoctor() *cobra.Command {
	var o doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Audit the configuration, the environment and this host for what makes names leak",
		Long: "Looks at the proxy variables of shells, services and running programs, at the configuration of git, curl, npm and\n" +
			"others, at the host's resolvers, and at the configuration of Watertight. Each finding says what is wrong and where,\n" +
			"who is affected, and what to do, ready to be pasted. docs/doctor.md has the rules.\n\n" +
			"It opens no socket but the control socket of the running proxy and one to ask the kernel for the rules of the firewall,\n" +
			"looks nothing up, and changes nothing without --fix. Run it as root to see the whole host.\n\n" +
			"Exit codes: 0 nothing bad; 3 a finding that is critical or high; 1 a rule did not finish, or a change failed; 2 bad\n" +
			"usage or a bad configuration.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.addRunning(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON; with --watch, one document a line")
	f.StringVar(&o.explain, "explain", "", "print what is known of the rule `ID`, and look at nothing")
	f.StringSliceVar(&o.only, "only", nil, "apply the rule `ID` only (repeatable)")
	f.BoolVar(&o.list, "list", false, "list the rules, and look at nothing")
	f.BoolVar(&o.fix, "fix", false, "make the changes that are safe: each is shown, asked about, and a copy of the file kept beside it")
	f.BoolVar(&o.yes, "yes", false, "with --fix: do not ask")
	f.BoolVar(&o.follow, "watch", false, "go on, and print findings as they come and go")
	f.StringVar(&o.root, "root", "", "look at the host whose files are below `DIR`, such as a mounted image, and at no environment")
	complete(cmd, "explain", ruleIDs)
	complete(cmd, "only", ruleIDs)
	_ = cmd.MarkFlagDirname("root") // the flag is there
	return cmd
}

func ruleIDs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	for _, r := range rules.All() {
		ids = append(ids, cobra.CompletionWithDesc(r.ID, r.Title))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func (o *doctorFlags) run(cmd *cobra.Command) error {
	switch {
	case o.yes && !o.fix:
		return usageError{errors.New("--yes is for --fix")}
	case o.fix && (o.json || o.follow):
		return usageError{errors.New("--fix asks and tells: it does not go together with --json or --watch")}
	case o.explain != "":
		return o.tell(cmd)
	}
	picked, err := doctor.Pick(rules.All(), o.only)
	if err != nil {
		return usageError{fmt.Errorf("--only: %w%s\n`watertight doctor --list` shows them", err, nearest(o.only))}
	}
	if o.list {
		return o.show(cmd, picked)
	}
	switch {
	case o.fix:
		return o.mend(cmd, picked)
	case o.follow:
		return o.watch(cmd, picked)
	}
	r, h, err := o.look(cmd.Context(), picked)
	if err != nil {
		return err
	}
	_ = h.Close() // nothing was written through it
	if o.json {
		err = printJSON(cmd, r)
	} else {
		err = doctor.Render(cmd.OutOrStdout(), r)
	}
	if err != nil {
		return err
	}
	return ending(cmd, r)
}

// ending is the exit code of a report.
func ending(cmd *cobra.Command, r doctor.Report) error {
	switch {
	case r.Bad():
		return quietError{exitLeak}
	case cmd.Context().Err() != nil:
		return cmd.Context().Err()
	case len(r.Unfinished) > 0:
		return quietError{exitFailed} // it says which
	}
	return nil
}

// nearest suggests a rule for one that looks mistyped.
func nearest(ids []string) string {
	var known []string
	for _, r := range rules.All() {
		known = append(known, r.ID)
	}
	for _, id := range ids {
		if near, ok := config.Nearest(strings.ToUpper(id), known); ok && !strings.EqualFold(near, id) {
			return "; did you mean " + near + "?"
		}
	}
	return ""
}

// tell prints what is known of a rule.
func (o *doctorFlags) tell(cmd *cobra.Command) error {
	picked, err := doctor.Pick(rules.All(), []string{o.explain})
	if err != nil {
		return usageError{fmt.Errorf("--explain: %w%s\n`watertight doctor --list` shows them", err, nearest([]string{o.explain}))}
	}
	if o.json {
		return printJSON(cmd, listed(picked[0]))
	}
	return doctor.RenderRule(cmd.OutOrStdout(), picked[0])
}

// listedRule is a rule as JSON has it.
type listedRule struct {
	ID       string          `json:"id"`
	Severity doctor.Severity `json:"severity"`
	Title    string          `json:"title"`
	Explain  string          `json:"explain"`
	Clients  []string        `json:"clients"`
	Systems  []string        `json:"systems,omitempty"`
}

func listed(r doctor.Rule) listedRule {
	return listedRule{r.ID, r.Severity, r.Title, r.Explain, r.Clients, r.Systems}
}

// show lists rules.
func (o *doctorFlags) show(cmd *cobra.Command, picked []doctor.Rule) error {
	if o.json {
		all := []listedRule{}
		for _, r := range picked {
			all = append(all, listed(r))
		}
		return printJSON(cmd, all)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, r := range picked {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.ID, r.Severity, r.Title)
	}
	return w.Flush()
}

// look applies the rules once. The host is closed when the report is no longer needed.
func (o *doctorFlags) look(ctx context.Context, picked []doctor.Rule) (doctor.Report, *doctor.Host, error) {
	c, err := o.load()
	if err != nil {
		return doctor.Report{}, nil, err
	}
	host := doctor.Options{Root: hostRoot(), OS: runtime.GOOS, Env: os.Environ(), PID: os.Getpid(), Config: c, Build: build(), Now: time.Now()}
	host.Home, _ = os.UserHomeDir() // without one, the homes of the host are looked at all the same
	var unseen []string
	if o.root != "" {
		if host.Root, err = filepath.Abs(o.root); err != nil {
			return doctor.Report{}, nil, err
		}
		if info, err := os.Stat(host.Root); err != nil || !info.IsDir() {
			return doctor.Report{}, nil, usageError{fmt.Errorf("--root: %s is no directory that is there; name the one that holds the files of a host, such as a mounted image", o.root)}
		}
		host.Env, host.Home, host.PID = nil, "", 0
	} else {
		if s, err := o.status(ctx); err != nil {
			unseen = append(unseen, "a running proxy, and what it counted: "+oneLine(err))
		} else {
			host.Status = &s
		}
		if len(c.Listen.Transparent) > 0 || c.Guard != nil { // else its rules say nothing about us
			host.Firewall, host.FirewallUnseen = firewall()
		}
		if c.Guard != nil {
			if g, err := guard.New(guard.Options{}).Look(ctx); err != nil {
				host.GuardUnseen = oneLine(err)
			} else {
				host.Guard = &g
			}
		}
	}
	h, err := openWithin(ctx, host)
	if err != nil {
		return doctor.Report{}, nil, err
	}
	r := doctor.Run(ctx, h, picked)
	r.Unseen = append(r.Unseen, unseen...)
	return r, h, nil
}

// openWithin looks at the host, which may hang: at a home on a server that is gone, or at a process that the kernel holds. What hangs is
// left behind.
func openWithin(ctx context.Context, o doctor.Options) (*doctor.Host, error) {
	ctx, cancel := context.WithTimeout(ctx, doctor.RunTime)
	defer cancel()
	type outcome struct {
		host *doctor.Host
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		h, err := doctor.Open(o)
		done <- outcome{h, err}
	}()
	select {
	case out := <-done:
		return out.host, out.err
	case <-ctx.Done():
		return nil, fmt.Errorf("doctor: the homes and processes of this host could not be read: %w", ctx.Err())
	}
}

// status asks the running proxy, which answers at once or not at all.
func (o *doctorFlags) status(ctx context.Context) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	socket, err := o.socket(ctx)
	if err != nil {
		return control.Status{}, err
	}
	return control.FetchStatus(ctx, socket)
}

// oneLine is an error with its lines as one.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// hostRoot is the directory that holds all files of this host.
func hostRoot() string {
	if runtime.GOOS == "windows" {
		return cmp.Or(os.Getenv("SystemDrive"), "C:") + `\`
	}
	return "/"
}

// build is what this program knows of itself.
func build() doctor.Build {
	b := doctor.Build{Version: version, Trapped: wire.Trapped()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			b.Time, _ = time.Parse(time.RFC3339, s.Value) // zero where it is not one
		}
	}
	return b
}
