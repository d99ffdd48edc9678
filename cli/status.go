package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/control"
)

func newReload() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Let the running proxy read its configuration again",
		Long: "The proxy builds the new configuration beside the old, swaps, and lets the old drain: no connection is dropped. An\n" +
			"invalid configuration changes nothing, and its errors are printed.\n\n" +
			"The running proxy is found by its configuration's path, or by an address on which it listens now.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			socket, err := o.socket(cmd.Context())
			if err != nil {
				return err
			}
			err = control.Reload(cmd.Context(), socket)
			if failed, ok := errors.AsType[*control.ReloadError](err); ok && failed.Invalid {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "reloaded")
			return err
		},
	}
	o.addRunning(cmd)
	return cmd
}

func newStatus() *cobra.Command {
	var o options
	var asJSON, watch, pool bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell what a running proxy is doing",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			socket, err := o.socket(cmd.Context())
			if err != nil {
				return err
			}
			show := printJSON
			if watch {
				show = printJSONLine
			}
			if !asJSON {
				show = nil
			}
			err = showStatus(cmd, socket, show, pool)
			for watch && err == nil {
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(watchPause):
				}
				if !asJSON {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				err = showStatus(cmd, socket, show, pool)
			}
			return err
		},
	}
	o.addRunning(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON; with --watch, one document a line")
	cmd.Flags().BoolVar(&pool, "pool", false, "list every member of the pools")
	cmd.Flags().BoolVar(&watch, "watch", false, "print it again every two seconds, until interrupted")
	return cmd
}

// watchPause is the time between two looks of `status --watch`.
const watchPause = 2 * time.Second

// showStatus prints the status by show, or for people where that is nil.
func showStatus(cmd *cobra.Command, socket string, show func(*cobra.Command, any) error, pool bool) error {
	fetch := control.FetchStatus
	if pool {
		fetch = control.FetchPools
	}
	s, err := fetch(cmd.Context(), socket)
	if err != nil {
		return err
	}
	if show != nil {
		return show(cmd, s)
	}
	return control.RenderStatus(cmd.OutOrStdout(), s)
}

// addRunning adds the flags that say which running proxy is meant.
func (o *options) addRunning(cmd *cobra.Command) {
	o.addFile(cmd)
	o.addListen(cmd, "the `ADDR` on which the running proxy listens; without it, the one that runs with the configuration is meant")
}

// socket gives the control socket of the proxy that is meant. The configuration itself is not read: it may be broken,
// and it may say something else than it did when the proxy read it.
func (o *options) socket(ctx context.Context) (string, error) {
	var w control.Wanted
	for _, s := range o.over.Listen {
		at, err := netip.ParseAddrPort(s)
		if err != nil || at.Port() == 0 {
			return "", usageError{fmt.Errorf("--listen: %q is not the address of a running proxy; write its IP:PORT, such as %s", s, config.DefaultListen)}
		}
		w.Listen = append(w.Listen, at)
	}
	var missing error
	if len(w.Listen) == 0 {
		file, err := config.Find(o.file, os.LookupEnv)
		if errors.Is(err, config.ErrNoFile) {
			// It may have been there when the proxy started.
			file, missing = cmp.Or(o.file, os.Getenv("WATERTIGHT_CONFIG")), err
		} else if err != nil {
			return "", usageError{err}
		}
		if file != "" {
			if w.File, err = filepath.Abs(file); err != nil {
				return "", err
			}
		}
	}
	socket, err := control.Find(ctx, w)
	switch {
	case missing != nil && errors.Is(err, control.ErrNotRunning):
		return "", usageError{missing}
	case errors.Is(err, control.ErrSeveral):
		return "", usageError{err}
	}
	return socket, err
}
