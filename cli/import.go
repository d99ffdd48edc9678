package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"watertight/config"
)

func newConfigImport() *cobra.Command {
	var channel, keys string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a channel of a WireGuard file of wg-quick",
		Long: "Reads a file of wg-quick(8), such as wg0.conf, and prints a configuration with a channel that leads through its tunnel.\n" +
			"Keys are printed nowhere: they go to files of their own, for their owner alone, named after the channel. A file that\n" +
			"stands there already is not replaced. Commands such as PostUp are never run, and what is left out is said. The DNS\n" +
			"line becomes a comment with what to write to have it; the channel gets an encrypted resolver.",
		Args: argsBetween(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if channel == "" {
				channel = strings.TrimSuffix(filepath.Base(args[0]), ".conf")
			}
			text, err := readBounded(args[0], config.MaxWGQuick)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w\nname the file of wg-quick, such as /etc/wireguard/wg0.conf", err)
			}
			if err != nil {
				return err
			}
			in, err := config.ImportWGQuick(args[0], text, channel, keys)
			if err != nil {
				return usageError{err}
			}
			if err := writeSecrets(in.Files); err != nil {
				return err
			}
			for _, n := range in.Notes {
				fmt.Fprintln(cmd.ErrOrStderr(), "note: "+n.String())
			}
			for _, f := range in.Files {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: a key was written to %s; the paths below begin at the configuration file\n", f.Name)
			}
			_, err = cmd.OutOrStdout().Write(in.YAML)
			return err
		},
	}
	cmd.Flags().StringVar(&channel, "name", "", "call the channel `NAME`; otherwise it is the file's name without .conf")
	cmd.Flags().StringVar(&keys, "keys", "", "write the keys into the directory `DIR`; otherwise into the working directory")
	return cmd
}

// readBounded gives what is in a file, and an error where it is longer.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d octets, and is no file of wg-quick", path, most)
	}
	return text, err
}

// writeSecrets makes files for their owner alone, all of them or none.
func writeSecrets(files []config.ImportedSecret) error {
	for i, s := range files {
		err := writeSecret(s)
		if err == nil {
			continue
		}
		for _, made := range files[:i] {
			err = errors.Join(err, os.Remove(made.Name))
		}
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%s stands there already, and is not replaced: give --keys another directory or --name another name", s.Name)
		}
		return err
	}
	return nil
}

func writeSecret(s config.ImportedSecret) error {
	f, err := os.OpenFile(s.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(s.Content()); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(s.Name))
	}
	return nil
}
