// Package doctor looks at a host for what makes names leak: proxy settings that clients read otherwise than their
// writer, programs that pass the proxy by, resolvers in the clear, and our own configuration.
//
// What is wrong is known to rules; each is a value of [Rule], and package doctor/rules is the list of them. A rule sees
// a [Host] and nothing else: files below a root, with limits, environments, processes, and what our own program said of
// itself. So a host can be a directory of a test. [Run] gives each rule its time, and a rule that fails costs its own
// findings only; but a run in which a rule did not finish says so, and is never clean.
//
// It never opens a socket and never looks a name up, it changes nothing but what [Change.Apply] is told to, and no secret
// of a file stands in what it says.
package doctor

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Severity says how bad a finding is.
type Severity int

// The severities.
const (
	Low      Severity = iota + 1 // worth knowing
	Medium                       // will leak or fail in some set-ups
	High                         // names will leave for common clients
	Critical                     // names leave now
)

var severities = map[Severity]string{Low: "low", Medium: "medium", High: "high", Critical: "critical"}

// String is its word.
func (s Severity) String() string { return severities[s] }

// Error says whether the severity is an error: the command ends with exit code 3. Critical and high are.
func (s Severity) Error() bool { return s >= High }

// MarshalText is its word, for JSON.
func (s Severity) MarshalText() ([]byte, error) {
	if severities[s] == "" {
		return nil, fmt.Errorf("%d is no severity", int(s))
	}
	return []byte(severities[s]), nil
}

// UnmarshalText reads its word.
func (s *Severity) UnmarshalText(text []byte) error {
	for v, word := range severities {
		if word == string(text) {
			*s = v
			return nil
		}
	}
	return fmt.Errorf("%q is no severity", text)
}

// Rule knows one cause of leaks.
type Rule struct {
	ID       string // stable: capital letters, digits and hyphens
	Severity Severity
	Title    string // what it detects, in a few words, for lists
	// Explain is the background: what was measured or read, and with which versions. Plain text, paragraphs of lines.
	Explain string
	Clients []string // who is affected, where a finding does not say it better
	Systems []string // values of GOOS on which it makes sense; none: all
	// Find looks. It is called from one goroutine, and once its time is over its host answers "not there" to everything.
	// A finding may leave out ID, Severity and Clients: the rule's are filled in.
	Find func(*Host) []Finding
}

// Finding is one thing that is wrong.
type Finding struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	Fact     string   `json:"fact"`     // one line
	Evidence []string `json:"evidence"` // each FILE:LINE: text, process PID (NAME): text, or a count
	Clients  []string `json:"clients"`  // who is affected
	Fix      string   `json:"fix"`      // can be pasted
	// Change is the mend as an edit of one file, where that is safe to do by machine; nil where it is not.
	Change *Change `json:"change,omitempty"`
}

// Only makes the one finding of a rule that has at most one; none if there is no evidence.
func Only(f Finding) []Finding {
	if len(f.Evidence) == 0 {
		return nil
	}
	return []Finding{f}
}

var goodID = regexp.MustCompile(`^[A-Z][A-Z0-9]*(-[A-Z0-9]+)*$`)

// Check says what is wrong with a list of rules: an id that is not one or stands there twice, or a rule without what a
// reader needs.
func Check(rules []Rule) error {
	var errs []error
	seen := map[string]bool{}
	for _, r := range rules {
		switch {
		case !goodID.MatchString(r.ID):
			errs = append(errs, fmt.Errorf("%q is not the id of a rule", r.ID))
		case seen[r.ID]:
			errs = append(errs, fmt.Errorf("%s stands there twice", r.ID))
		case severities[r.Severity] == "" || r.Title == "" || r.Explain == "" || r.Find == nil || len(r.Clients) == 0:
			errs = append(errs, fmt.Errorf("%s lacks severity, title, explanation, clients or its look", r.ID))
		}
		seen[r.ID] = true
	}
	return errors.Join(errs...)
}

// Pick gives the rules of the ids, in the order of the list; without ids, all. An id that is not known is an error.
func Pick(rules []Rule, ids []string) ([]Rule, error) {
	if len(ids) == 0 {
		return rules, nil
	}
	for _, id := range ids {
		if !slices.ContainsFunc(rules, func(r Rule) bool { return strings.EqualFold(r.ID, id) }) {
			return nil, fmt.Errorf("%q is not the id of a rule", id)
		}
	}
	return slices.DeleteFunc(slices.Clone(rules), func(r Rule) bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(r.ID, id) })
	}), nil
}
