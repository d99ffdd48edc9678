package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"watertight/channel"
	"watertight/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration, show it in full, print its schema, import a tunnel",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheck(), newConfigShow(), newConfigSchema(), newConfigImport())
	return cmd
}

func newConfigCheck() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Report every error of the configuration, each with its place and its mend",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			for _, w := range c.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w.String())
			}
			from := c.File
			if from == "" {
				from = "no file found, so the defaults"
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the configuration is good: "+from)
			return nil
		},
	}
	o.add(cmd)
	return cmd
}

func newConfigShow() *cobra.Command {
	var o options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the effective configuration with its defaults, secrets masked",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			var text []byte
			if asJSON {
				text, err = c.ShowJSON()
			} else {
				text, err = c.Show()
				text = append(text, carries()...)
			}
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newConfigSchema() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of the configuration",
		Long: "Prints the JSON schema of the configuration, by which editors check a file and complete its keys.\n\n" +
			"It is the same whatever is configured: -c is taken as by `check` and `show`, and the file is not read.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(schema)
			return err
		},
	}
	o.addFile(cmd)
	return cmd
}

// carries is the capability table as a comment of YAML.
func carries() string {
	var b strings.Builder
	b.WriteString("\n# which upstreams of a resolver which hops carry; a resolver that cannot be carried is an error, never sent elsewhere:\n")
	for line := range strings.Lines(channel.CapabilityTable()) {
		b.WriteString("#   " + line)
	}
	return b.String()
}

// printJSON prints one document, as every --json does.
func printJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printJSONLine prints one document on a line of its own, for what goes on.
func printJSONLine(cmd *cobra.Command, v any) error {
	return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
}
