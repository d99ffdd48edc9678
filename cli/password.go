package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"watertight/gate"
)

// readPassword asks twice at a terminal, without showing what is typed, or reads a line of standard input.
func readPassword(cmd *cobra.Command) (string, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), gate.MaxPassword+3))
		if err != nil {
			return "", err
		}
		line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
		if line == "" || strings.ContainsAny(line, "\r\n") {
			return "", usageError{errors.New("standard input is to hold the password, on one line")}
		}
		return line, nil
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		octets, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		if err != nil {
			return "", err
		}
		typed[i] = string(octets)
	}
	if typed[0] != typed[1] {
		return "", usageError{errors.New("the two passwords are not the same")}
	}
	return typed[0], nil
}
