package cli

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"watertight/client"
	"watertight/daemon"
	"watertight/name"
)

func newExplain() *cobra.Command {
	var o options
	var asJSON, live bool
	var user string
	cmd := &cobra.Command{
		Use:   "explain NAME|URL",
		Short: "Tell which way a request would take, and who would see what of it",
		Long: "Tells which route and which channel a request takes, through which proxies, which resolvers are asked for the name and\n" +
			"how many of them see it, and what the network, each proxy, the resolvers and the destination see. A request that would\n" +
			"be refused is explained too.\n\n" +
			"The configuration decides it, and nothing else: nothing is looked up, and nothing is sent. A running proxy is not\n" +
			"asked; --live asks the channel's resolver. Without a scheme HTTPS is meant, on port 443 where none is given. A URL of the gateway, such as\n" +
			"http://127.0.0.1:8088/openai/v1, is explained as the request that the gateway sends on.\n\n" +
			"--user gives the name that a client would give, with its labels: USER-session-ID-country-CC. It decides about routes of\n" +
			"users, and about what proxies with a template are told. No password is asked for, and whether a door would take the\n" +
			"name without one is not looked at. At the gateway the user of an entry goes before it, and so does one in the URL's path.",
		Args: argsBetween(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			target, plain, err := targetOf(args[0])
			if err != nil {
				return err
			}
			id, err := client.Parse(user)
			if err != nil {
				return usageError{fmt.Errorf("--user: %w", err)}
			}
			var e *daemon.Explanation
			if daemon.IsGateway(c, target, plain) {
				e, err = daemon.ExplainGateway(c, pathOf(args[0]), id)
			} else {
				e, err = daemon.ExplainFor(c, target, plain, id)
			}
			if err != nil {
				return err
			}
			if live {
				if err := lookLive(cmd, c, e); err != nil {
					return err
				}
			}
			if asJSON {
				err = printJSON(cmd, e)
			} else {
				err = printExplanation(cmd.OutOrStdout(), e)
			}
			if err == nil && e.Refusal != nil {
				return quietError{exitFailed}
			}
			return err
		},
	}
	o.add(cmd)
	cmd.Flags().StringVar(&user, "user", "", "explain it for a client that gives `NAME`, with labels: alice-session-7-country-de")
	cmd.Flags().BoolVar(&live, "live", false, "ask the channel's resolver too, for the addresses and for ECH; the name leaves this host then, by the channel")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// portsOf are the schemes that can be explained, with their ports.
var portsOf = map[string]uint16{"https": 443, "wss": 443, "http": 80, "ws": 80}

// targetOf reads NAME, NAME:PORT or a URL, and says whether the request itself leaves in clear text. What is in the URL
// beside host and port is not shown in an error: it may be a secret.
func targetOf(s string) (t name.Target, plain bool, err error) {
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		t, err = hostAndPort(s, portsOf["https"])
		if err != nil {
			err = usageError{fmt.Errorf("%q: %w", s, err)}
		}
		return t, false, err
	}
	scheme = strings.ToLower(scheme)
	port, known := portsOf[scheme]
	if !known {
		return t, false, usageError{fmt.Errorf("%.20q is no scheme that can be explained; write https://, http://, or a name alone", scheme)}
	}
	// Parsing the whole would put what is wrong with it into the error, a password too.
	authority, _, _ := strings.Cut(rest, "/")
	authority, _, _ = strings.Cut(authority, "?")
	authority, _, _ = strings.Cut(authority, "#")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	if unescaped, escErr := url.PathUnescape(authority); escErr == nil {
		authority = unescaped
	}
	if t, err = hostAndPort(authority, port); err != nil {
		err = usageError{fmt.Errorf("the host of the URL: %w", err)}
	}
	return t, scheme == "http" || scheme == "ws", err
}

// pathOf gives the path of a URL, as it is written.
func pathOf(s string) string {
	_, rest, _ := strings.Cut(s, "://")
	i := strings.IndexAny(rest, "/?#")
	if i < 0 || rest[i] != '/' {
		return "/"
	}
	path, _, _ := strings.Cut(rest[i:], "?")
	path, _, _ = strings.Cut(path, "#")
	return path
}

func hostAndPort(s string, port uint16) (name.Target, error) {
	h, err := name.ParseHost(s)
	if err == nil {
		return name.New(h, port)
	}
	t, withPort := name.Parse(s)
	if withPort == nil || errors.Is(withPort, name.ErrPort) && strings.Contains(s, ":") {
		return t, withPort
	}
	return t, err
}

func printExplanation(out io.Writer, e *daemon.Explanation) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(key, format string, args ...any) { fmt.Fprintf(w, key+"\t"+format+"\n", args...) }
	if e.Gateway != nil {
		line("gateway", "%s stands for %s", e.Gateway.Path, e.Gateway.To)
	}
	if e.Target != "" {
		line("target", "%s (%s)", e.Target, e.Scheme)
	}
	switch {
	case e.Refusal != nil:
		line("verdict", "refused: %s (%s)", e.Refusal.Message, e.Refusal.Code)
		line("hint", "%s", e.Refusal.Hint)
	case e.Name.By == "resolver":
		line("verdict", "carried, once an address is found that the policy allows")
	default:
		line("verdict", "carried")
	}
	if e.Identity != nil {
		line("for", "%s", identityText(e.Identity))
	}
	line("route", "%s", routeText(e))
	if e.Channel != "" {
		line("channel", "%s", strings.Join(append([]string{e.Channel}, e.Over...), ", over "))
	}
	if e.Name.By == "here" {
		line("name", "for special use: answered by the program itself, and asked of nobody")
	}
	if e.Refusal == nil {
		line("way", "%s", strings.Join(slices.Concat([]string{"this host"}, e.Hops, []string{e.Target}), " -> "))
		for i, h := range e.Path {
			line(fmt.Sprint("hop ", i+1), "%s", hopText(h))
		}
		printName(line, e)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printSights(out, e)
}

// identityText is whom a request is for.
func identityText(id *daemon.Asker) string {
	who := "a client without a name"
	if id.User != "" {
		who = "the user " + id.User
	}
	for _, l := range []struct{ name, value string }{{"session", id.Session}, {"country", id.Country}, {"state", id.State}, {"city", id.City}, {"ttl", id.TTL}} {
		if l.value != "" {
			who += ", " + l.name + " " + l.value
		}
	}
	return who
}

// hopText is what one hop on the way learns.
func hopText(h daemon.HopTaken) string {
	var parts []string
	sees := "sees the address of " + h.From
	if h.YourAddress {
		sees = "sees your address"
	}
	parts = append(parts, h.Hop+" of "+h.Channel+": "+sees)
	switch h.FoundBy {
	case "resolver":
		parts = append(parts, "its own name is looked up in "+h.FoundIn)
	case "exit":
		parts = append(parts, "its own name is given to the exit of "+h.FoundIn)
	}
	parts = append(parts, "is asked for the "+h.NextAs+" of "+h.Next)
	if len(h.SeesName) > 0 {
		var how []string
		for _, in := range h.SeesName {
			how = append(how, learnt[in])
		}
		parts = append(parts, "learns the target's name: "+strings.Join(how, ", "))
	} else {
		parts = append(parts, "does not learn the target's name")
	}
	if len(h.Told) > 0 {
		parts = append(parts, "is told of the client: "+strings.Join(h.Told, ", "))
	}
	if h.Sticks != "" {
		parts = append(parts, "a member sticks "+h.Sticks)
	}
	return strings.Join(parts, "; ")
}

func routeText(e *daemon.Explanation) string {
	switch r := e.Route; {
	case e.Gateway != nil && e.Gateway.Channel != "":
		return "the gateway's entry names the channel, whatever the routes"
	case r.Rule == 0 && e.Channel != "":
		return "none is written: everything takes " + e.Channel
	case r.Rule == 0:
		return "none matches"
	case r.Line == 0:
		return fmt.Sprintf("%s (the command line's)", r.Pattern)
	default:
		return fmt.Sprintf("%s (route %d, %s:%d)", r.Pattern, r.Rule, r.File, r.Line)
	}
}

// printName tells how the addresses of the target and of the proxies are found.
func printName(line func(key, format string, args ...any), e *daemon.Explanation) {
	n := e.Name
	switch n.By {
	case "exit":
		line("name", "given to the last proxy, which resolves it")
	case "resolver":
		line("name", "seen by %d of %d resolvers (strategy: %s)", n.Sees, n.MaySee, n.Strategy)
		for _, r := range n.Resolvers {
			through := ""
			if r.Relay != "" {
				through = ", through the relay " + r.Relay
			}
			at := "an address that is looked up"
			if len(r.Addresses) > 0 {
				at = strings.Join(r.Addresses, ", ")
			}
			line("resolver", "%s: %s at %s%s; %s", r.Host, r.Transport, at, through, seenWhen[r.SeesName])
		}
		dnssec := n.DNSSEC
		if n.Negative != "" {
			dnssec += ", and not for this name: " + n.Negative + " is a negative anchor"
		}
		line("dnssec", "%s", dnssec)
		if n.Stale == 0 {
			line("stale", "never: what has expired is not used")
		} else {
			line("stale", "for %d s after it has expired, where no resolver gives another answer", n.Stale)
		}
	}
	for _, h := range e.HopNames {
		by := "given to the exit of " + h.Channel
		if len(h.Resolvers) > 0 {
			by = "looked up in the channel " + h.Channel + ", of " + strings.Join(h.Resolvers, ", ")
		}
		line(h.Kind, "%s is %s", h.Name, by)
	}
}

var seenWhen = map[string]string{
	"always": "it sees the name",
	"share":  "it sees the names that chance gives it",
	"spare":  "it sees the name only where those before it cannot be reached",
}

// learnt is how a place learns the target's name, for people.
var learnt = map[string]string{"sni": "SNI", "proxy_request": "asked for it", "dns_question": "asked for it", "clear_text": "in clear text"}

// printSights prints the table of who sees what, and the notes.
func printSights(out io.Writer, e *daemon.Explanation) error {
	if len(e.Sees) > 0 {
		fmt.Fprintln(out)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	if len(e.Sees) > 0 {
		fmt.Fprintln(w, "WHO\tSEES TRAFFIC FROM\tTO\tTARGET'S ADDRESS\tTARGET'S NAME\tCONTENT\tTIME\tNAMES ON THE WAY")
	}
	for _, s := range e.Sees {
		var how []string
		for _, in := range s.TargetName {
			how = append(how, learnt[in])
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", placeText(s), s.From, orDash(s.To), yesNo(s.TargetAddress), orNo(how), yesNo(s.Content), seenTime[s.Time], orDash(s.HopNames))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printReasons(out, e)
	printLive(out, e)
	if len(e.Notes) > 0 {
		fmt.Fprintln(out)
	}
	for _, note := range e.Notes {
		if _, err := fmt.Fprintln(out, "note: "+note); err != nil {
			return err
		}
	}
	return nil
}

func placeText(s daemon.Sight) string {
	switch s.Kind {
	case "relay", "resolver":
		text := s.Kind + " " + s.Place + " of " + s.Channel
		if s.When != "always" {
			text += " (" + s.When + ")"
		}
		return text
	case "destination":
		return "the destination"
	}
	return s.Place
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func orNo(how []string) string {
	if len(how) == 0 {
		return "no"
	}
	return "yes: " + strings.Join(how, ", ")
}

func orDash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}
