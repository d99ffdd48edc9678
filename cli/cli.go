// Package cli is the command line: it reads arguments, calls the room that does the work, and prints what came of it.
//
// It promises the exit codes of the documentation, that standard output holds the result and nothing else, and that
// an error says what is wrong and what to do next. It never does any work of its own.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"watertight/config"
)

// Exit codes.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
	exitLeak   = 3 // a leak was found
)

// usageError is bad usage or a bad configuration: the command did not start.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// Main runs the program with its arguments and gives its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	log.SetOutput(io.Discard) // net/http writes there what origins send unasked; our own logger is another
	ctx, stop := context.Background(), func() {}
	if len(args) == 0 || args[0] != "exec" { // that has its own use for signals
		ctx, stop = untilSignal()
	}
	defer stop()
	root := newRoot()
	args = oneDash(root, args)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := unknownCommand(root, args); err != nil {
		return complain(err, stderr)
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitFine
	}
	code := complain(err, stderr)
	if cmd.Name() == "exec" && !errors.As(err, new(quietError)) && !errors.As(err, new(codeError)) {
		return exitUncontained // another code would be the program's own
	}
	return code
}

// complain says what went wrong, unless that was done, and gives the exit code for it.
func complain(err error, stderr io.Writer) int {
	var usage usageError
	var coded codeError
	var quiet quietError
	var problems config.Problems
	switch {
	case errors.As(err, &problems) && problems[0].Line > 0:
		fmt.Fprintln(stderr, problems.Error()) // as compilers do: a line begins with its place, and editors follow it
		return exitUsage
	case errors.As(err, &quiet):
		return quiet.code
	case errors.As(err, &coded):
		fmt.Fprintln(stderr, "watertight: "+strings.TrimRight(err.Error(), "\n"))
		return coded.code
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "watertight: "+strings.TrimRight(err.Error(), "\n"))
		return exitUsage
	default:
		fmt.Fprintln(stderr, "watertight: "+strings.TrimRight(err.Error(), "\n"))
		return exitFailed
	}
}

// untilSignal gives a context that the first SIGINT or SIGTERM ends. The second ends the program at once, as if it had
// never been caught.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for range 2 {
			select {
			case s := <-signals:
				if ctx.Err() != nil {
					dieOf(s)
				}
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(done)
		cancel()
	})
}

// dieOf lets a signal do what it does to a program that does not catch it.
func dieOf(s os.Signal) {
	signal.Reset(s)
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Signal(s) // if it cannot be sent, the exit code says that it failed
	}
	time.Sleep(time.Second) // it comes long before
	os.Exit(exitFailed)
}

// quietError ends the program with a code when everything has been said already.
type quietError struct{ code int }

func (e quietError) Error() string { return fmt.Sprintf("exit %d", e.code) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "watertight",
		Short: "The API proxy that cannot leak DNS",
		Long: "Watertight is a proxy for API traffic. It resolves every name by itself, over encrypted DNS, inside the very\n" +
			"channel that carries the traffic, or not at all.\n\n" +
			"Start it with `watertight run`, and see it work with `watertight demo`.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       versionLine(),

		PersistentPreRunE: noEmptyFlags,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetUsageTemplate(usage)
	root.CompletionOptions.DisableDefaultCmd = true // ours refuses a shell that it does not know
	root.SetHelpCommand(newHelp())
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newRun(), newExec(), newTest(), newResolve(), newExplain(), newDoctor(), newStatus(), newReload(), newCache(), newConfig(), newEnv(), newUser(), newDemo(), newCanary(), newGuard(), newVersion(), newCompletion(),
	)
	return root
}

// usage is how every command is used, in few lines.
const usage = `Usage:
  {{if .HasAvailableSubCommands}}{{if .HasExample}}{{.UseLine}}
  {{end}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{- if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableSubCommands}}

` + "`{{.CommandPath}} COMMAND --help`" + ` tells more about a command.{{end}}
`

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Tell about a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = noArgs(about, rest)
			}
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return commandsOf(about), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// commandsOf gives the names of the commands below cmd.
func commandsOf(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return names
}

// noArgs refuses arguments, as bad usage, with the nearest command for one that looks mistyped.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return usageError{fmt.Errorf("`%[1]s` takes no argument %[2]q\n`%[1]s --help` shows what there is", cmd.CommandPath(), args[0])}
	}
	text := fmt.Sprintf("%q is not a command of `%s`", args[0], cmd.CommandPath())
	if near, ok := config.Nearest(args[0], commandsOf(cmd)); ok {
		text += "; did you mean `" + near + "`?"
	}
	return usageError{fmt.Errorf("%s\n`%s --help` shows what there is", text, cmd.CommandPath())}
}

// noEmptyFlags refuses a flag with nothing behind it: `-c "$FILE"` with an unset variable must not mean "no -c".
func noEmptyFlags(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) { // those that were given
		empty := f.Value.String() == ""
		if list, ok := f.Value.(pflag.SliceValue); ok {
			empty = len(list.GetSlice()) == 0 || slices.Contains(list.GetSlice(), "")
		}
		if empty && err == nil {
			err = usageError{fmt.Errorf("--%s is empty; give it a value, or leave it out", f.Name)}
		}
	})
	return err
}

// argsBetween wants so many arguments, and says so as bad usage.
func argsBetween(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usageError{fmt.Errorf("%d arguments are given; usage: %s", len(args), cmd.UseLine())}
		}
		return nil
	}
}

// options are the flags that say which configuration is meant.
type options struct {
	file string
	over config.Overrides
}

// addFile adds -c.
func (o *options) addFile(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.file, "config", "c", "", "the configuration `FILE`; without it, the usual places are searched")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml", "json") // the flag is there
}

// addListen adds --listen.
func (o *options) addListen(cmd *cobra.Command, what string) {
	cmd.Flags().StringArrayVar(&o.over.Listen, "listen", nil, what)
}

// addDNS adds --dns.
func (o *options) addDNS(cmd *cobra.Command, what string) {
	cmd.Flags().StringArrayVar(&o.over.DNS, "dns", nil, what)
}

// add adds -c and the flags that override the file.
func (o *options) add(cmd *cobra.Command) {
	o.addFile(cmd)
	o.addListen(cmd, "listen on `ADDR` (repeatable), instead of 127.0.0.1:8080")
	o.addDNS(cmd, "answer DNS over UDP and TCP on `ADDR` (repeatable), for programs that resolve by themselves")
	o.addWay(cmd)
	o.addLog(cmd)
}

// addWay adds the flags that say how names are resolved and by which way everything leaves.
func (o *options) addWay(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.over.Resolver, "resolver", nil, "resolve with `URL` (repeatable): a preset, https://… or tls://…")
	f.StringVar(&o.over.CA, "ca", "", "trust the authorities of `FILE` for the resolvers of --resolver and the proxies of --via, and no others")
	f.StringArrayVar(&o.over.Via, "via", nil, "send everything through the proxy `URL` (repeated: a chain, first hop first)")
	complete(cmd, "resolver", presets)
	_ = cmd.MarkFlagFilename("ca", "pem", "crt") // the flag is there
}

// addLog adds the flags of the log.
func (o *options) addLog(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.over.LogLevel, "log-level", "", "from which `LEVEL` on to log: debug, info, warn or error")
	f.StringVar(&o.over.LogFormat, "log-format", "", "the log's `FORMAT`: text or json")
	complete(cmd, "log-level", fixed("debug", "info", "warn", "error"))
	complete(cmd, "log-format", fixed("text", "json"))
}

// load reads the configuration; its errors are bad usage.
func (o *options) load() (*config.Config, error) {
	c, err := config.Load(o.file, o.over)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}
