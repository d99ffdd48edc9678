package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/daemon"
	"watertight/name"
	"watertight/state"
)

// seenTime is when a place sees that there is a request, for people.
var seenTime = map[string]string{"requests": "each", "lookups": "look-ups"}

// printReasons prints why each place sees what it sees, and what would improve it.
func printReasons(out io.Writer, e *daemon.Explanation) {
	for i, s := range e.Sees {
		if i == 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s: %s\n", placeText(s), strings.Join(s.Why, "; "))
		for _, better := range s.Better {
			fmt.Fprintf(out, "  better: %s\n", better)
		}
	}
}

// lookLive has the channel's resolver asked, and says where it is not.
func lookLive(cmd *cobra.Command, c *config.Config, e *daemon.Explanation) error {
	target, err := name.Parse(e.Target)
	if err != nil {
		return nil // there is none: what the gateway does not know
	}
	asked, err := e.Look(cmd.Context(), c, state.Default(os.LookupEnv), target.Host(), slog.New(newLog(cmd.ErrOrStderr(), c.Log)))
	if err == nil && !asked {
		e.Notes = append(e.Notes, "nothing was looked up: no resolver would be asked for this name")
	}
	return err
}

// printLive prints what was looked up.
func printLive(out io.Writer, e *daemon.Explanation) {
	if e.Seen == nil {
		return
	}
	fmt.Fprintln(out)
	if err := e.Seen.Resolution.Error; err != nil {
		fmt.Fprintf(out, "live: %s (%s)\n", err.Message, err.Code)
		return
	}
	for _, a := range e.Seen.Resolution.Answers {
		var data []string
		for _, r := range a.Records {
			if r.Type == a.Type {
				data = append(data, r.Data)
			}
		}
		text := orDash(data)
		if a.Error != nil {
			text = fmt.Sprintf("%s (%s)", a.Error.Message, a.Error.Code)
		}
		if a.Resolver != "" && a.RCode != "" {
			text += ", by " + a.Resolver
		}
		fmt.Fprintf(out, "live: %s %s\n", a.Type, text)
	}
	switch ech := e.Seen.ECH; {
	case ech == nil:
		fmt.Fprintln(out, "live: whether the destination has ECH is not known: the question for its HTTPS record had no answer")
	case *ech:
		fmt.Fprintln(out, "live: the destination has ECH: a client that uses it does not show the name on the way")
	default:
		fmt.Fprintln(out, "live: the destination has no ECH in its records: no client can hide the name in its TLS handshake")
	}
}
