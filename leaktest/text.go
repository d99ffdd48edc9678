package leaktest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText writes a report for people: the cases in a table, the evidence of those that are not sealed (of all of them where
// all is set), the ways out, and the verdict.
func (r *Report) WriteText(out io.Writer, all bool) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "CASE\tVERDICT\tCAUSE\tWHAT")
	for _, c := range r.Cases {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", clean(c.ID), clean(string(c.Verdict)), clean(c.Cause), clean(c.Title))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, alike := range grouped(r.Cases) {
		if alike[0].Verdict != Sealed || all {
			writeCases(out, alike)
		}
	}
	if g := r.Environment.Guard; g != "" {
		fmt.Fprintf(out, "\nguard of the host: %s\n", clean(g))
	}
	r.Environment.writePaths(out)
	_, err := fmt.Fprintf(out, "\nverdict: %s\n", r.inWords())
	return err
}

// grouped puts cases together of which there is nothing to say but the same: each group stands where the first of it did.
func grouped(cases []Case) (groups [][]Case) {
	for _, c := range cases {
		i := slices.IndexFunc(groups, func(g []Case) bool {
			return g[0].Verdict == c.Verdict && g[0].Reason != "" && g[0].Reason == c.Reason && g[0].Fix == c.Fix && len(g[0].Evidence)+len(c.Evidence) == 0
		})
		if i < 0 {
			groups = append(groups, []Case{c})
			continue
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}

// idsWidth is how many columns a line of IDs has.
const idsWidth = 110

// writeCases writes what came of cases of which the same is to be said.
func writeCases(out io.Writer, alike []Case) {
	c, line := alike[0], 0
	fmt.Fprintln(out)
	for i, one := range alike {
		id := clean(one.ID)
		switch {
		case i == 0:
		case line+len(id)+2 > idsWidth:
			fmt.Fprint(out, ",\n")
			line = 0
		default:
			fmt.Fprint(out, ", ")
			line += 2
		}
		fmt.Fprint(out, id)
		line += len(id)
	}
	fmt.Fprintf(out, ": %s", clean(string(c.Verdict)))
	if c.Reason != "" {
		fmt.Fprintf(out, ": %s", clean(c.Reason))
	}
	fmt.Fprintln(out)
	for _, e := range c.Evidence {
		fmt.Fprintf(out, "  - %s\n", clean(e))
	}
	if c.Fix != "" {
		fmt.Fprintf(out, "  mend: %s\n", clean(c.Fix))
	}
}

// writePaths draws the ways out.
func (e Environment) writePaths(out io.Writer) {
	for _, p := range e.Channels {
		fmt.Fprintf(out, "\nchannel %s\n", clean(p.Channel))
		fmt.Fprintf(out, "  traffic  %s\n", clean(p.traffic()))
		fmt.Fprintf(out, "  names    %s\n", clean(p.names()))
	}
}

// traffic is the way of a connection.
func (p Path) traffic() string {
	way := append([]string{"this host"}, p.Hops...)
	if p.Exit != "" {
		way = append(way, "seen as "+p.Exit)
	}
	return strings.Join(append(way, "destination"), " -> ")
}

// names is the way of a question.
func (p Path) names() string {
	way := append([]string{"this host"}, p.Hops...)
	if p.Resolve == "exit" {
		return strings.Join(append(way, "resolved by the exit"), " -> ")
	}
	resolvers := strings.Join(p.Resolvers, " or ")
	if len(p.Asked) > 0 {
		resolvers += ", which asks from " + strings.Join(p.Asked, ", ")
	}
	return strings.Join(append(way, resolvers, "the name's own servers"), " -> ")
}

// inWords is the verdict in a sentence.
func (r *Report) inWords() string {
	count := func(v Verdict) (n int) {
		for _, c := range r.Cases {
			if c.Verdict == v {
				n++
			}
		}
		return n
	}
	switch r.Verdict {
	case Sealed:
		words := fmt.Sprintf("sealed (%d cases)", count(Sealed))
		if count(Sealed) == 1 {
			words = "sealed (one case)"
		}
		if len(r.Environment.Only) > 0 {
			words += ", as far as the cases that were asked for go"
		}
		return words
	case Leak:
		return fmt.Sprintf("LEAK, found by %d of %d cases", count(Leak), len(r.Cases))
	}
	var missing []string
	for _, c := range r.Cases {
		if c.Verdict == Inconclusive || c.Verdict == Skipped && c.Needed {
			missing = append(missing, c.ID)
		}
	}
	switch {
	case len(missing) > 0:
	case count(Sealed) > 0:
		return "inconclusive: what was asked for held, and a verdict takes one of the cases that are needed, too (`watertight test --list`)"
	default:
		return "inconclusive: nothing was tried that shows anything"
	}
	return clean("inconclusive: no leak was found, and these cases show nothing: " + strings.Join(missing, ", "))
}
