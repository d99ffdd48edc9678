package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"watertight/upstream"
)

var completionShells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print what lets a shell complete the commands: bash, zsh, fish or powershell",
		Long: "Prints a script for the shell. To have it in each new shell:\n\n" +
			"    bash        watertight completion bash > ~/.local/share/bash-completion/completions/watertight\n" +
			"    zsh         watertight completion zsh > \"${fpath[1]}/_watertight\"\n" +
			"    fish        watertight completion fish > ~/.config/fish/completions/watertight.fish\n" +
			"    powershell  watertight completion powershell | Out-String | Invoke-Expression",
		Args:      argsBetween(1, 1),
		ValidArgs: completionShells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			write := map[string]func(io.Writer) error{
				"bash":       func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
				"zsh":        root.GenZshCompletion,
				"fish":       func(w io.Writer) error { return root.GenFishCompletion(w, true) },
				"powershell": root.GenPowerShellCompletionWithDesc,
			}[args[0]]
			if write == nil {
				return usageError{fmt.Errorf("unknown shell %q: use %s", args[0], strings.Join(completionShells, ", "))}
			}
			return write(w)
		},
	}
}

// complete says how the values of a flag are completed.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	_ = cmd.RegisterFlagCompletionFunc(flag, f) // the flag is there, and has no other
}

// fixed completes with values that are always the same.
func fixed(values ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return slices.Clone(values), cobra.ShellCompDirectiveNoFileComp
	}
}

// presets completes with the resolvers that are known by a name.
func presets(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var found []string
	for _, p := range upstream.Presets() {
		found = append(found, cobra.CompletionWithDesc(p.Name, p.What))
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
