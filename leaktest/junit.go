package leaktest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Stamp    string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string     `xml:"classname,attr"`
	Name    string     `xml:"name,attr"`
	Time    string     `xml:"time,attr"`
	Failure *junitText `xml:"failure"`
	Error   *junitText `xml:"error"`
	Skipped *junitText `xml:"skipped"`
	Out     string     `xml:"system-out,omitempty"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes a report as those who run tests read it. A leak is a failure; what shows nothing is an error, and so is a
// case that was skipped without which no run is sealed: a run that is not sealed has one of either.
func (r *Report) WriteJUnit(out io.Writer) error {
	suite := junitSuite{Name: "watertight", Tests: len(r.Cases), Time: seconds(r.TookMS), Stamp: r.Started.UTC().Format("2006-01-02T15:04:05")}
	for _, c := range r.Cases {
		one := junitCase{Class: "watertight." + c.Cause, Name: c.ID + ": " + c.Title, Time: seconds(c.TookMS)}
		text := strings.Join(c.Evidence, "\n")
		if c.Fix != "" {
			text += "\nmend: " + c.Fix
		}
		switch {
		case c.Verdict == Leak:
			suite.Failures++
			one.Failure = &junitText{"leak " + c.Cause, text}
		case c.Verdict == Skipped && !c.Needed:
			suite.Skipped++
			one.Skipped = &junitText{Message: c.Reason}
		case c.Verdict != Sealed:
			suite.Errors++
			one.Error = &junitText{string(c.Verdict) + ": " + c.Reason, text}
		default:
			one.Out = text
		}
		suite.Cases = append(suite.Cases, one)
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(out)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

func seconds(ms float64) string { return fmt.Sprintf("%.3f", ms/1000) }
