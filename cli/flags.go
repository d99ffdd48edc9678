package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError is what is wrong with a flag, and where it is told what there is.
func flagError(cmd *cobra.Command, err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := bad.GetFlag()
		err = fmt.Errorf("--%s %q: %s is wanted", f.Name, bad.GetValue(), wanted(f.Value.Type()))
	}
	return usageError{fmt.Errorf("%w\n`%s --help` shows the flags", err, cmd.CommandPath())}
}

// wanted says what a flag of a type takes.
func wanted(of string) string {
	switch {
	case of == "bool":
		return "true or false, or nothing"
	case of == "duration":
		return "a time such as 30m or 24h"
	case strings.HasPrefix(of, "uint16"):
		return "a number from 0 to 65535"
	case strings.HasPrefix(of, "int"), strings.HasPrefix(of, "uint"):
		return "a whole number"
	}
	return "another value"
}

// oneDash has long flags of `canary`, such as -zone, be what they are with two dashes.
func oneDash(root *cobra.Command, args []string) []string {
	if len(args) == 0 || args[0] != "canary" {
		return args
	}
	about, _, err := root.Find(args)
	if err != nil {
		return args
	}
	out := slices.Clone(args)
	for i, a := range out {
		if a == "--" {
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "-"), "=")
		if strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && len(name) > 1 && about.Flags().Lookup(name) != nil {
			out[i] = "-" + a
		}
	}
	return out
}

// unknownCommand refuses a command that there is not, which its --help would be taken for the help of what stands before it.
func unknownCommand(root *cobra.Command, args []string) error {
	if !slices.Contains(args, "--help") && !slices.Contains(args, "-h") {
		return nil
	}
	about, rest, err := root.Find(args)
	if err != nil || !about.HasSubCommands() || len(rest) == 0 || strings.HasPrefix(rest[0], "-") {
		return nil
	}
	return noArgs(about, rest)
}
