package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Render writes a report for people, the worst first.
func Render(w io.Writer, r Report) error {
	var b strings.Builder
	last := Severity(0)
	for _, f := range r.Findings {
		if f.Severity != last {
			last = f.Severity
			b.WriteString(strings.ToUpper(f.Severity.String()) + "\n")
		}
		RenderFinding(&b, f)
	}
	for _, u := range r.Unfinished {
		fmt.Fprintf(&b, "not finished: %s: %s\n", u.ID, u.Reason)
	}
	for _, u := range r.Unseen {
		fmt.Fprintf(&b, "not seen: %s\n", clip(u))
	}
	if len(r.Unfinished)+len(r.Unseen) > 0 {
		b.WriteString("\n")
	}
	b.WriteString(Summary(r) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// RenderFinding writes one finding.
func RenderFinding(b *strings.Builder, f Finding) {
	fmt.Fprintf(b, "  %s  %s\n", f.ID, f.Fact)
	row := func(label, text string) {
		for i, line := range strings.Split(text, "\n") {
			if i > 0 {
				label = ""
			}
			fmt.Fprintf(b, "    %-9s %s\n", label, line)
		}
	}
	row("evidence", strings.Join(f.Evidence, "\n"))
	row("affects", wrap(strings.Join(f.Clients, "; "), 100))
	row("fix", f.Fix)
	if f.Change != nil {
		row("", "(`watertight doctor --fix` can do it)")
	}
	b.WriteString("\n")
}

// Summary is one line: how many of each severity, of how many rules.
func Summary(r Report) string {
	if len(r.Findings) == 0 {
		if len(r.Unfinished) > 0 {
			return fmt.Sprintf("nothing found by %d rules, but %d did not finish: that says nothing about what they look for", len(r.Rules), len(r.Unfinished))
		}
		return fmt.Sprintf("nothing found by %d rules", len(r.Rules))
	}
	var parts []string
	for s := Critical; s >= Low; s-- {
		n := 0
		for _, f := range r.Findings {
			if f.Severity == s {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return fmt.Sprintf("%s, by %d rules; `watertight doctor --explain %s` tells why", strings.Join(parts, ", "), len(r.Rules), r.Findings[0].ID)
}

// RenderRule writes what is known of a rule.
func RenderRule(w io.Writer, r Rule) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %s\n\n%s\n\naffects: %s\n", r.ID, r.Severity, r.Title, strings.TrimSpace(r.Explain), wrap(strings.Join(r.Clients, "; "), 100))
	if len(r.Systems) > 0 {
		fmt.Fprintf(&b, "looked for on: %s\n", strings.Join(r.Systems, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap breaks a text into lines of about so many octets.
func wrap(text string, width int) string {
	var b strings.Builder
	n := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case n+1+len(word) > width:
			b.WriteString("\n")
			n = 0
		default:
			b.WriteString(" ")
			n++
		}
		b.WriteString(word)
		n += len(word)
	}
	return b.String()
}
