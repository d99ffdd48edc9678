// Package leaktest is the program's test of itself: it asks for names that nobody has asked for before, by every door and
// through every channel, provokes what makes others fall back, and compares what it did with what was seen of it.
//
// It promises that a verdict is never better than the evidence: nothing is sealed of which the instruments did not show
// that they see, and what could not be looked at is said. It asks only for names below the zone of the canary that was
// configured, and for names that are answered here; it takes nothing from users, whose channels it cuts in copies only.
// Its labels are random, and so are its pauses: nothing of a run links it to another. It opens no socket by itself but is
// given doors and channels by a [Subject], and judges what it is told: it trusts no canary with more than evidence.
package leaktest

import (
	"time"
)

// Verdict is what came of a case, or of a whole run.
type Verdict string

// The verdicts. A run is never skipped.
const (
	Sealed       Verdict = "sealed"
	Leak         Verdict = "leak"
	Inconclusive Verdict = "inconclusive"
	Skipped      Verdict = "skipped"
)

// Case is one thing that was tried. The field names are stable.
type Case struct {
	ID       string   `json:"id"`    // in capitals, such as NAME-BY-DOOR
	Title    string   `json:"title"` // what holds where it is sealed
	Verdict  Verdict  `json:"verdict"`
	Cause    string   `json:"cause"`            // the row of docs/leaks.md that is tried, or that was found
	Evidence []string `json:"evidence"`         // what was done, and what was seen: a sentence each
	Fix      string   `json:"fix"`              // what to do where it is not sealed; empty where it is
	Reason   string   `json:"reason,omitempty"` // why it was skipped or is inconclusive
	Needed   bool     `json:"needed"`           // without it no run is sealed
	TookMS   float64  `json:"took_ms"`
}

// Report is a whole run. The field names are stable.
type Report struct {
	Verdict     Verdict     `json:"verdict"`
	Cases       []Case      `json:"cases"` // in the order of [List]
	Environment Environment `json:"environment"`
	Started     time.Time   `json:"started"`
	TookMS      float64     `json:"took_ms"`
}

// Environment is where and with what a run was made. It holds no secret.
type Environment struct {
	Version  string   `json:"version"`
	System   string   `json:"system"`         // operating system and architecture
	File     string   `json:"file,omitempty"` // the configuration
	Running  bool     `json:"running"`        // the proxy that serves users; else one that was made for the test
	Policy   Policy   `json:"policy"`
	Doors    []string `json:"doors"`
	Channels []Path   `json:"channels"`
	Canary   string   `json:"canary,omitempty"`  // its zone; empty: there was none
	Watched  []string `json:"watched,omitempty"` // the interfaces whose packets were read
	Blind    string   `json:"blind,omitempty"`   // what of the host's packets could not be seen, and why; empty: nothing
	Only     []string `json:"only,omitempty"`    // the cases that were asked for; none: all
	Trigger  string   `json:"trigger,omitempty"` // what the run was made for: asked, start, schedule, network, …
	Control  string   `json:"control"`           // what came of the positive control
	Guard    string   `json:"guard,omitempty"`   // what guards the host, and what it refused; empty: it was not looked at
}

// Path is the picture of a channel's way out.
type Path struct {
	Channel   string   `json:"channel"`
	Over      string   `json:"over,omitempty"`
	Hops      []string `json:"hops"`      // from this host on, without credentials
	Resolve   string   `json:"resolve"`   // here or exit
	Resolvers []string `json:"resolvers"` // as configured
	Asked     []string `json:"asked"`     // addresses from which the canary was asked, with their networks
	Exit      string   `json:"exit,omitempty"`
}

// Find gives the case of an ID.
func (r *Report) Find(id string) (Case, bool) {
	for _, c := range r.Cases {
		if c.ID == id {
			return c, true
		}
	}
	return Case{}, false
}

// Leaks gives the cases that found a leak.
func (r *Report) Leaks() (found []Case) {
	for _, c := range r.Cases {
		if c.Verdict == Leak {
			found = append(found, c)
		}
	}
	return found
}

// Add puts the outcome of a case that was tried elsewhere in the place of the report's own, and draws the conclusion anew.
func (r *Report) Add(c Case) {
	for i := range r.Cases {
		if r.Cases[i].ID == c.ID {
			r.Cases[i] = c
		}
	}
	r.Verdict = Conclude(r.Cases)
}

// Conclude gives the verdict of a run: a leak where a case found one; else inconclusive where a case was, or one that is
// needed was skipped, or none was tried; else sealed.
func Conclude(cases []Case) Verdict {
	verdict, tried := Sealed, false
	for _, c := range cases {
		switch c.Verdict {
		case Leak:
			return Leak
		case Sealed:
			tried = tried || c.Needed
		case Skipped:
			if c.Needed {
				verdict = Inconclusive
			}
		default:
			verdict = Inconclusive
		}
	}
	if !tried {
		return Inconclusive
	}
	return verdict
}
