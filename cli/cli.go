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
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"watertight/config"
)

// Exit codes.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is bad usage or a bad configuration: the command did not start.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// Main runs the program with its arguments and gives its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal is not caught: it ends the program at once
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitFine
	}
	var usage usageError
	var quiet quietError
	switch {
	case errors.As(err, &quiet):
		return quiet.code
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "watertight: "+strings.TrimRight(err.Error(), "\n"))
		return exitUsage
	default:
		fmt.Fprintln(stderr, "watertight: "+strings.TrimRight(err.Error(), "\n"))
		return exitFailed
	}
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
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w\n`%s --help` shows the flags", err, cmd.CommandPath())}
	})
	root.AddCommand(
		newRun(), newResolve(), newStatus(), newReload(), newConfig(), newEnv(), newDemo(), newVersion(),
	)
	return root
}

// noArgs refuses arguments, as bad usage, with the nearest command for one that looks mistyped.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("%q is not a command of `%s`", args[0], cmd.CommandPath())
	if !cmd.HasSubCommands() {
		text = fmt.Sprintf("`%s` takes no argument %q", cmd.CommandPath(), args[0])
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean `" + near[0] + "`?"
	}
	return usageError{fmt.Errorf("%s\n`%s --help` shows what there is", text, cmd.CommandPath())}
}

// argsBetween wants so many arguments, and says so as bad usage.
func argsBetween(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usageError{fmt.Errorf("%d arguments given; usage: %s", len(args), cmd.UseLine())}
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
	_ = cmd.MarkFlagFilename("config", "yaml", "yml", "json")
}

// add adds -c and the flags that override the file.
func (o *options) add(cmd *cobra.Command) {
	o.addFile(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.over.Listen, "listen", nil, "listen on `ADDR` (repeatable), instead of 127.0.0.1:8080")
	f.StringArrayVar(&o.over.Resolver, "resolver", nil, "resolve with `URL` (repeatable): a preset, https://… or tls://…")
	f.StringVar(&o.over.CA, "ca", "", "trust the certificates of `FILE` for the resolvers of --resolver, and no others")
	f.StringArrayVar(&o.over.Via, "via", nil, "send everything through the proxy `URL` (repeated: a chain, first hop first)")
	f.StringVar(&o.over.LogLevel, "log-level", "", "debug, info, warn or error")
	f.StringVar(&o.over.LogFormat, "log-format", "", "text or json")
}

// load reads the configuration; its errors are bad usage.
func (o *options) load() (*config.Config, error) {
	c, err := config.Load(o.file, o.over)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}
