package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/control"
	"watertight/leaktest"
	"watertight/proxyenv"
)

// testFlags are the flags of `test`.
type testFlags struct {
	options
	json, list, all, noControl bool
	only                       []string
	junit, html, pcap          string
}

func newTest() *cobra.Command {
	var t testFlags
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Test the proxy for leaks, and print the verdict with its evidence",
		Long: "Asks for names that nobody has asked for before, by every door and through every channel, provokes what makes others\n" +
			"fall back, and compares what was done with what was seen: by a canary (`leaktest.canary`), by packets on this host, and\n" +
			"by the program's own traps. What it did and saw is printed, with the cause (docs/leaks.md) and the mend of what is wrong.\n\n" +
			"The proxy that runs with the configuration is tested, or the one that listens on --listen. Where none runs, or\n" +
			"where --dns, --resolver, --ca or --via say what to test, it is started for the test alone, on free ports of loopback.\n" +
			"Users notice nothing: channels are cut off in private copies only.\n\n" +
			"The host's own resolver is asked for one random name below the canary's zone, which shows that a leak would be seen;\n" +
			"--no-control leaves that out, and no verdict is better than inconclusive then.\n\n" +
			"Exit codes: 0 sealed, 3 a leak was found, 1 inconclusive or failed, 2 bad usage or a bad configuration.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(t.only) > 0 { // as in --only ID ID
				return nil
			}
			return noArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			t.only = idsOf(t.only, args)
			return t.run(cmd)
		},
	}
	t.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&t.json, "json", false, "print JSON")
	f.BoolVar(&t.list, "list", false, "list the cases, and try none")
	f.BoolVar(&t.all, "all", false, "print the evidence of sealed cases, too")
	f.BoolVar(&t.noControl, "no-control", false, "do not ask the host's own resolver for anything")
	f.StringSliceVar(&t.only, "only", nil, "try the cases `ID` only (repeatable; several may follow, with or without commas)")
	f.StringVar(&t.junit, "junit", "", "write the report to `FILE` as JUnit XML")
	f.StringVar(&t.html, "html", "", "write the report to `FILE` as one HTML page")
	f.StringVar(&t.pcap, "pcap", "", "write the packets that were seen to `FILE`, as pcapng")
	complete(cmd, "only", fixed(leaktest.IDs()...))
	cmd.AddCommand(newTestHistory(), newTestAccept())
	return cmd
}

// idsOf gives the cases that are named by the flag and behind it, as they are written in the list.
func idsOf(flag, more []string) (ids []string) {
	for _, one := range slices.Concat(flag, more) {
		for id := range strings.SplitSeq(one, ",") {
			ids = append(ids, strings.ToUpper(id))
		}
	}
	return ids
}

func (t *testFlags) run(cmd *cobra.Command) error {
	if err := leaktest.Known(t.only); err != nil {
		return usageError{fmt.Errorf("--only: %w", err)}
	}
	// A running proxy has its own log, but what is no level is no level.
	if _, err := new(config.Config).Override(config.Overrides{LogLevel: t.over.LogLevel, LogFormat: t.over.LogFormat}); err != nil {
		return usageError{err}
	}
	if t.list {
		return t.printList(cmd)
	}
	files, err := t.open()
	if err != nil {
		return usageError{err}
	}
	defer files.close()
	ask := control.Test{Only: t.only, Control: !t.noControl, Progress: progressTo(cmd.ErrOrStderr())}
	if files.pcap != nil {
		ask.PCAP = files.pcap
	}
	report, err := t.test(cmd, ask)
	if err != nil {
		return err
	}
	if err := files.write(report); err != nil {
		return err
	}
	if t.json {
		err = printJSON(cmd, report)
	} else {
		err = report.WriteText(cmd.OutOrStdout(), t.all)
	}
	switch {
	case err != nil:
		return err
	case report.Verdict == leaktest.Leak:
		return quietError{exitLeak}
	case report.Verdict != leaktest.Sealed:
		return quietError{exitFailed}
	}
	return nil
}

// test tests the running proxy, or one that is started for it.
func (t *testFlags) test(cmd *cobra.Command, ask control.Test) (*leaktest.Report, error) {
	if len(t.over.DNS)+len(t.over.Resolver)+len(t.over.Via) > 0 || t.over.CA != "" {
		return t.alone(cmd, ask)
	}
	socket, err := t.socket(cmd.Context())
	switch {
	case errors.Is(err, control.ErrNotRunning), errors.Is(err, config.ErrNoFile):
		return t.alone(cmd, ask)
	case err != nil:
		return nil, err
	}
	status, err := control.FetchStatus(cmd.Context(), socket)
	if err != nil {
		return nil, err
	}
	if t := status.LeakTest; t != nil && t.Running != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "a test is under way (%s): this one begins when that has ended\n", t.Running)
	}
	report, err := control.RunTest(cmd.Context(), socket, ask)
	if err != nil {
		return nil, err
	}
	// The variables are those of this shell, and not the proxy's.
	report.Add(leaktest.EnvironmentCase(os.Environ(), doorsOf(status)))
	return report, nil
}

// doorsOf gives where clients reach the mixed port of a running proxy.
func doorsOf(status control.Status) (doors []netip.AddrPort) {
	for _, l := range status.Listeners {
		at, err := netip.ParseAddrPort(l.Address)
		if err == nil && l.Kind == "proxy" {
			doors = append(doors, proxyenv.Reachable(at))
		}
	}
	return doors
}

// progressTo tells a person how far the test is.
func progressTo(w io.Writer) func(leaktest.Progress) {
	return func(p leaktest.Progress) {
		if p.Case != "" {
			fmt.Fprintf(w, "[%d/%d] %s\n", p.Begun, p.Of, p.Case)
		}
	}
}

// outputs are the files that a report goes to.
type outputs struct{ junit, html, pcap *os.File }

// open opens the files before anything is tried: what cannot be written is said at once.
func (t *testFlags) open() (*outputs, error) {
	var o outputs
	for _, one := range []struct {
		flag, path string
		file       **os.File
	}{{"junit", t.junit, &o.junit}, {"html", t.html, &o.html}, {"pcap", t.pcap, &o.pcap}} {
		if one.path == "" {
			continue
		}
		for _, other := range []*os.File{o.junit, o.html} {
			if other != nil && sameFile(other, one.path) {
				o.close()
				return nil, fmt.Errorf("--%s: another flag names %s, too", one.flag, one.path)
			}
		}
		file, err := os.OpenFile(one.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			o.close()
			return nil, fmt.Errorf("--%s: %w\nname a file that may be written, in a directory that is there", one.flag, err)
		}
		*one.file = file
	}
	return &o, nil
}

// sameFile says whether a path leads to an open file.
func sameFile(f *os.File, path string) bool {
	one, err := f.Stat()
	if err != nil {
		return false
	}
	other, err := os.Stat(path)
	return err == nil && one.Mode().IsRegular() && os.SameFile(one, other)
}

func (o *outputs) close() {
	for _, f := range []*os.File{o.junit, o.html, o.pcap} {
		if f != nil {
			_ = f.Close() // after a report it is closed already
		}
	}
}

// write writes a report to the files, and closes them.
func (o *outputs) write(r *leaktest.Report) error {
	var junit, page, packets error
	if o.junit != nil {
		junit = errors.Join(r.WriteJUnit(o.junit), o.junit.Close())
	}
	if o.html != nil {
		page = errors.Join(r.WriteHTML(o.html), o.html.Close())
	}
	if o.pcap != nil {
		packets = o.pcap.Close()
	}
	return errors.Join(junit, page, packets)
}

func neededText(c leaktest.Listed) string {
	if c.NeededWhere != "" {
		return "where " + c.NeededWhere
	}
	return yesNo(c.Needed)
}

func (t *testFlags) printList(cmd *cobra.Command) error {
	list := slices.DeleteFunc(leaktest.List(), func(c leaktest.Listed) bool { return len(t.only) > 0 && !slices.Contains(t.only, c.ID) })
	if t.json {
		return printJSON(cmd, list)
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "CASE\tCAUSE\tNEEDED\tCANARY\tWHAT")
	for _, c := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.ID, c.Cause, neededText(c), yesNo(c.Canary), c.Title)
	}
	return w.Flush()
}
