// Command tally reads the output of go test -json and prints what go test prints without -v, and besides: every test
// that was skipped with its reason, and at the end the number of tests that passed, failed and were skipped.
//
//	go test -json ./... | tally [-each] [-sum FILE]
//
// It exits with 1 when something failed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	each := flag.Bool("each", false, "print a line for every test that ends, not only for every package")
	sum := flag.String("sum", "", "add the three numbers to this `FILE`")
	flag.Parse()
	c, err := tally(os.Stdin, os.Stdout, *each)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
	fmt.Println(c)
	if *sum != "" {
		if err := c.add(*sum); err != nil {
			fmt.Fprintln(os.Stderr, "tally:", err)
			os.Exit(1)
		}
	}
	if c.failed > 0 {
		os.Exit(1)
	}
}

type counts struct{ passed, failed, skipped int }

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

func (c counts) add(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, c.passed, c.failed, c.skipped)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// event is a line of go test -json; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// test is what is known of one test while it runs.
type test struct {
	output strings.Builder
	parent bool // it has subtests, which are counted instead
	failed bool // one of its subtests failed
}

// tally counts tests that have no subtests. A test that fails beside its subtests counts once more, and so does a
// package that fails without a failing test: it did not build, it panicked, or it ran out of time.
func tally(r io.Reader, w io.Writer, each bool) (counts, error) {
	var c counts
	tests := map[string]*test{}
	broken := map[string]bool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(w, lines.Text()) // what go prints beside the events
			continue
		}
		key := e.Package + " " + e.Test
		t := tests[key]
		if t == nil {
			t = new(test)
			tests[key] = t
		}
		if e.Action == "output" || e.Action == "build-output" {
			switch {
			case e.Test != "":
				t.output.WriteString(e.Output)
			case e.Output != "PASS\n" && !strings.HasSuffix(e.Output, "[no test files]\n"):
				fmt.Fprint(w, e.Output)
			}
			continue
		}
		if e.Action == "run" {
			if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
				if up := tests[e.Package+" "+e.Test[:i]]; up != nil {
					up.parent = true
				}
			}
			continue
		}
		if e.Action != "pass" && e.Action != "fail" && e.Action != "skip" {
			continue
		}
		if e.Test == "" {
			if e.Action == "fail" && !broken[e.Package] {
				c.failed++
			}
			delete(tests, key)
			continue
		}
		ended(&c, w, e, t, each)
		if e.Action == "fail" {
			broken[e.Package] = true
			if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
				if up := tests[e.Package+" "+e.Test[:i]]; up != nil {
					up.failed = true
				}
			}
		}
		delete(tests, key)
	}
	return c, lines.Err()
}

// ended counts one test and prints what is worth reading of it.
func ended(c *counts, w io.Writer, e event, t *test, each bool) {
	switch e.Action {
	case "pass":
		if !t.parent {
			c.passed++
		}
		if each && !strings.Contains(e.Test, "/") {
			fmt.Fprintf(w, "--- PASS: %s (%.2fs)\n", e.Test, e.Elapsed)
		}
	case "skip":
		if !t.parent {
			c.skipped++
		}
		fmt.Fprint(w, t.output.String())
	case "fail":
		if !t.failed {
			c.failed++
		}
		fmt.Fprint(w, t.output.String())
	}
}
