package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/contain"
	"watertight/daemon"
	"watertight/state"
	"watertight/wire"
)

func newExec() *cobra.Command {
	var o options
	var channel string
	var real, attach, verbose bool
	var ports []string
	var setup contain.Setup
	cmd := execCommand()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if setup.Dir, err = os.Getwd(); err != nil {
			return notStarted(args[0], fmt.Errorf("the working directory is gone, or may not be entered: %w\nstart it from another directory", err))
		}
		publish, err := publishOf(ports)
		if err != nil {
			return err
		}
		if err := fitsAttach(cmd, attach); err != nil {
			return err
		}
		seen := &execSeen{to: cmd.ErrOrStderr(), verbose: verbose, program: args[0], attach: attach}
		ctx, signals, stop := forProgram(cmd.Context())
		defer stop()
		if attach {
			status, err := daemon.Attach(ctx, daemon.AttachOptions{
				Find: o.socket, Channel: channel, Command: args, Env: os.Environ(), Setup: setup, Publish: publish, Signals: signals,
				Held: seen.held, Did: seen.did,
				Lost: func(err error) {
					fmt.Fprintf(cmd.ErrOrStderr(), "watertight: %s has no network any more: %v\n", args[0], err)
				},
			})
			if err != nil {
				return notStarted(args[0], err)
			}
			return quietError{exitOf(status)}
		}
		status, err := daemon.Exec(ctx, daemon.ExecOptions{
			Load:    func() (*config.Config, error) { return config.Load(o.file, o.over) },
			Ground:  wire.Dialer{},
			Channel: channel,
			State:   state.Default(os.LookupEnv),
			Log:     func(c *config.Config) *slog.Logger { return slog.New(newLog(cmd.ErrOrStderr(), quiet(c.Log, o.over))) },
			Command: args, Env: os.Environ(), Setup: setup, RealAddresses: real,
			Publish: publish,
			Signals: signals, Held: seen.held, Did: seen.did,
		})
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w", err)
		}
		if err != nil {
			return notStarted(args[0], err)
		}
		return quietError{exitOf(status)}
	}
	o.addFile(cmd)
	o.addWay(cmd)
	o.addLog(cmd)
	cmd.Flags().StringVar(&channel, "channel", "", "carry everything through the channel `NAME`, whatever the routes say")
	f := cmd.Flags()
	f.StringArrayVar(&setup.KeepEnv, "keep-env", nil, "keep the variable `NAME` (repeatable), of those that lead to other programs of the host")
	f.StringArrayVar(&setup.Binds, "bind", nil, "show the file or directory `PATH` (repeatable) that lies below /run, /tmp or another private directory")
	f.StringArrayVar(&setup.Sockets, "allow-socket", nil, "let the program reach the UNIX socket `PATH` (repeatable) of the host, and whoever listens there")
	f.BoolVar(&setup.ShareTmp, "share-tmp", false, "show the host's /tmp and /var/tmp, instead of private ones")
	f.BoolVar(&setup.Namespaces, "allow-namespaces", false, "let the program make namespaces of its own, as browsers do for their sandbox")
	f.IntSliceVar(&setup.Keep, "keep-fd", nil, "let the program have the descriptor `N` (repeatable) that watertight was started with, from 3 on")
	f.BoolVar(&setup.AnyFile, "allow-any-fd", false, "let the descriptors that the program gets be sockets, directories and devices: each may be a way out")
	f.BoolVarP(&verbose, "verbose", "v", false, "say what stands around the program, and in the end what became of what it sent")
	f.StringArrayVar(&ports, "publish", nil, "make the port `PORT[:PORT]` (repeatable) of the program reachable on 127.0.0.1 and ::1 of this host; the second is the one inside, where it differs")
	f.BoolVar(&attach, "attach", false, "have the running proxy carry the program, instead of channels of its own; -c or --listen say which")
	o.addListen(cmd, "with --attach, the `ADDR` on which the running proxy listens, else the one that runs with the configuration is meant; without --attach, as `run` takes it, and nothing listens there")
	o.addDNS(cmd, "as `run` takes it, an `ADDR`, and nothing listens there: every question of the program is answered, whomever it asks")
	f.BoolVar(&real, "real-addresses", false, "let the program see the addresses of the network, instead of ones that stand for names")
	return cmd
}

// fitsAttach refuses flags that would have no effect with --attach, and says which have none without it: these are flags of every
// command that takes a configuration, which scripts give alike.
func fitsAttach(cmd *cobra.Command, attach bool) error {
	if !attach {
		if cmd.Flags().Changed("listen") || cmd.Flags().Changed("dns") {
			fmt.Fprintln(cmd.ErrOrStderr(), "watertight: exec opens no listener: --listen and --dns stand in place of the file's `listen`, which it does not use either")
		}
		return nil
	}
	for _, no := range []struct{ flags, why string }{
		{"resolver ca via", "the running proxy has its channels, and --channel chooses one"},
		{"log-level log-format", "the running proxy writes the log"},
		{"dns", "the running proxy has its listeners"},
		{"real-addresses", "the running proxy cannot tell which program it gave an address to, as all have the same one of their own"},
	} {
		for name := range strings.FieldsSeq(no.flags) {
			if cmd.Flags().Changed(name) {
				return usageError{fmt.Errorf("--%s does not go with --attach: %s", name, no.why)}
			}
		}
	}
	return nil
}

// publishOf reads --publish.
func publishOf(texts []string) (all []daemon.Publish, err error) {
	for _, text := range texts {
		here, inside, two := strings.Cut(text, ":")
		if !two {
			inside = here
		}
		a, errA := strconv.ParseUint(here, 10, 16)
		b, errB := strconv.ParseUint(inside, 10, 16)
		if errA != nil || errB != nil || a == 0 || b == 0 {
			return nil, usageError{fmt.Errorf("--publish %q is not PORT or PORT:PORT, each from 1 to 65535", text)}
		}
		all = append(all, daemon.Publish{Here: uint16(a), Inside: uint16(b)})
	}
	return all, nil
}

// quiet is the log of a program that is not to be seen beside the one it runs: warnings and errors, unless more is asked for.
func quiet(c config.Log, over config.Overrides) config.Log {
	if over.LogLevel == "" && (c.Level == "info" || c.Level == "debug") {
		c.Level = "warn"
	}
	return c
}

// exitOf is the exit code that stands for how a program ended, as shells have it.
func exitOf(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// notStarted says why a program was not started, with the exit code for it.
func notStarted(program string, err error) error {
	code := exitUncontained
	var why *contain.NotStarted
	if errors.As(err, &why) {
		code = why.Code
	}
	if code != exitUncontained {
		return codeError{code, err}
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		return err // each with its place first
	}
	return codeError{code, fmt.Errorf("%s was not started: %s", program, strings.TrimPrefix(strings.TrimPrefix(err.Error(), "contain: "), "plan: "))}
}
