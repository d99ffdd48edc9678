package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/guard"
)

func newGuard() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Let nothing leave this host but what Watertight sends",
		Long: "Arms the firewall of this host (nf_tables): what Watertight sends may leave, and what the link needs, answers to who\n" +
			"connects to this host, and networks of `guard.allow`. All else is refused, whatever becomes of Watertight, until\n" +
			"`watertight guard off` or a restart of the host. It takes root, or CAP_NET_ADMIN, and the program nft.\n\n" +
			"The configuration wants a key `guard`, by which Watertight puts a mark on what it sends: start it with that first.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newGuardOn(), newGuardOff(), newGuardStatus(), newGuardPrint())
	return cmd
}

func newGuardOn() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "on",
		Short: "Arm the guard, or arm it anew after a change of the configuration",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rules, err := o.guardRules()
			if err != nil {
				return err
			}
			if err := guard.New(guard.Options{}).On(cmd.Context(), rules); err != nil {
				return rootTold(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the guard is on: what has the mark %d may leave by %s%s\n", rules.Mark, devicesText(rules.Uplinks), allowedText(rules.Allow))
			fmt.Fprintln(cmd.OutOrStdout(), "`watertight guard status` tells what it refused, and `watertight guard off` takes it away")
			return nil
		},
	}
	o.addFile(cmd)
	return cmd
}

func newGuardOff() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "off",
		Short: "Take the guard away",
		Long:  "Takes the guard's rules away, and those of nobody else. No configuration is read: it works with any, and with none.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := guard.New(guard.Options{}).Off(cmd.Context()); err != nil {
				return rootTold(err)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "the guard is off: programs of this host reach whom they like")
			return err
		},
	}
	o.addFile(cmd)
	return cmd
}

func newGuardPrint() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the rules that `on` would load now, as nft reads them",
		Long:  "Prints the rules that `on` would load now, and loads nothing. Any user may.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rules, err := o.guardRules()
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), rules.Text())
			return err
		},
	}
	o.addFile(cmd)
	return cmd
}

// guardRules are what the configuration asks for, with the devices and the connections of now.
func (o *options) guardRules() (guard.Rules, error) {
	file, err := config.Find(o.file, os.LookupEnv)
	if err != nil {
		return guard.Rules{}, usageError{err}
	}
	c, err := config.ReadGuard(file, config.ThisHost()) // before the network is there, the rest may not be readable
	if err != nil {
		return guard.Rules{}, usageError{err}
	}
	if c.Guard == nil {
		where := cmp.Or(file, "the configuration")
		return guard.Rules{}, usageError{fmt.Errorf("%s has no key `guard`, so that what Watertight sends has no mark, and the guard would refuse that too\n"+
			"write `guard: {}`, or `guard: {allow: [192.168.0.0/16]}` with the networks that everybody may reach; then restart Watertight, and call this again", where)}
	}
	rules := guard.Rules{Mark: c.Mark(), Allow: c.Guard.Allow}
	if rules.Uplinks, err = guard.Uplinks(); err != nil {
		return guard.Rules{}, err
	}
	if rules.Kept, err = guard.Inbound(); err != nil {
		return guard.Rules{}, err
	}
	return rules, rules.Check()
}

// rootTold says what to do where the firewall is told to root alone.
func rootTold(err error) error {
	if errors.Is(err, guard.ErrRights) {
		return fmt.Errorf("%w\ncall it as root: `sudo watertight guard ...`", err)
	}
	return err
}

func devicesText(all []string) string {
	if len(all) == 0 {
		return "devices, of which none leads out now"
	}
	return strings.Join(all, ", ")
}

func allowedText(all []netip.Prefix) string {
	if len(all) == 0 {
		return ""
	}
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return ", and everybody may reach " + strings.Join(texts, ", ") + ", but not for names"
}

// guardStatus is what `guard status --json` prints.
type guardStatus struct {
	State    string          `json:"state"` // off, on or changed
	Why      string          `json:"why,omitempty"`
	Since    *time.Time      `json:"since,omitempty"`
	Mark     uint32          `json:"mark,omitempty"`
	Allow    []netip.Prefix  `json:"allow,omitempty"`
	Uplinks  []string        `json:"uplinks,omitempty"`
	Counters *guard.Counters `json:"counters,omitempty"`
}

func newGuardStatus() *cobra.Command {
	var o options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell whether the guard holds, and what it refused",
		Long: "Tells whether the guard is off, on or changed: turned on, while the kernel has not all of its rules any more. Changed is\n" +
			"exit code 1. With -c it is told, too, where the configuration asks for another guard than the one that is on.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			differs, err := o.guardDiffers()
			if err != nil {
				return err
			}
			s, err := lookAtGuard(cmd.Context(), differs)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd, s)
			} else {
				err = writeGuardStatus(cmd.OutOrStdout(), s)
			}
			if err == nil && s.State == "changed" {
				err = quietError{exitFailed}
			}
			return err
		},
	}
	o.addFile(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// guardDiffers gives what says how a guard differs from what the configuration of -c asks for, nothing where it does not.
func (o *options) guardDiffers() (func(guard.State) string, error) {
	if o.file == "" {
		return func(guard.State) string { return "" }, nil
	}
	c, err := o.load()
	if err != nil {
		return nil, err
	}
	return func(s guard.State) string {
		switch {
		case !s.Armed || !s.Held:
			return ""
		case c.Guard == nil:
			return o.file + " has no key `guard`: what Watertight sends has no mark, and is refused"
		case c.Mark() != s.Mark:
			return fmt.Sprintf("%s has Watertight mark what it sends with %d; `watertight guard on` arms the guard with that", o.file, c.Mark())
		case !sameNetworks(c.Guard.Allow, s.Allow):
			return o.file + " has another `guard.allow`; `watertight guard on` arms the guard with that"
		}
		return ""
	}, nil
}

func sameNetworks(a, b []netip.Prefix) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Prefix.Compare)
	slices.SortFunc(b, netip.Prefix.Compare)
	return slices.Equal(a, b)
}

func lookAtGuard(ctx context.Context, differs func(guard.State) string) (guardStatus, error) {
	found, err := guard.New(guard.Options{}).Look(ctx)
	if errors.Is(err, guard.ErrRights) && found.Armed {
		return guardStatus{}, fmt.Errorf("the guard was turned on at %s; whether it holds the kernel tells to root alone\ncall it as root: `sudo watertight guard status`", found.Since.Format(time.RFC3339))
	}
	if err != nil {
		return guardStatus{}, rootTold(err)
	}
	s := guardStatus{State: "off", Why: found.Why}
	switch {
	case found.Armed && found.Held:
		s.State, s.Why = "on", differs(found)
	case found.Armed, found.Why != "":
		s.State = "changed"
	}
	if found.Armed {
		s.Since, s.Mark, s.Allow = &found.Since, found.Mark, found.Allow
	}
	if s.State != "off" {
		s.Uplinks, s.Counters = found.Uplinks, &found.Counters
	}
	return s, nil
}

// writeGuardStatus writes it for people.
func writeGuardStatus(w io.Writer, s guardStatus) error {
	var b strings.Builder
	switch s.State {
	case "off":
		b.WriteString("the guard is off: programs of this host reach whom they like\n")
	case "on":
		fmt.Fprintf(&b, "the guard is on since %s\n", s.Since.Format(time.RFC3339))
	default:
		fmt.Fprintf(&b, "the guard has CHANGED: %s\n", s.Why)
		b.WriteString("`watertight guard on` arms it anew, and `watertight guard off` takes it away\n")
	}
	if s.State == "on" && s.Why != "" {
		fmt.Fprintf(&b, "but %s\n", s.Why)
	}
	if s.Since != nil {
		fmt.Fprintf(&b, "passes: what has the mark %d%s\n", s.Mark, allowedText(s.Allow))
	}
	if c := s.Counters; c != nil && (s.State == "on" || len(s.Uplinks) > 0) {
		fmt.Fprintf(&b, "looked at: %s\n", devicesText(s.Uplinks))
		fmt.Fprintf(&b, "packets refused: %d plain DNS, %d DNS over TLS or QUIC, %d local names, %d to be passed on, %d raw frames, %d others\n",
			c.DNS, c.DoT, c.LocalNames, c.Forwarded, c.Raw, c.Other)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
