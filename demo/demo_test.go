package demo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"watertight/cli"
	"watertight/demo"
)

func TestMain(m *testing.M) {
	if handled, code := demo.Child(os.Args[1:]); handled {
		os.Exit(code)
	}
	if len(os.Args) > 1 && os.Args[1] == "run" { // the demo runs this program as Watertight
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

type document struct {
	Verdict string `json:"verdict"`
	Acts    []struct {
		ID       string   `json:"id"`
		Calls    int      `json:"calls"`
		Answered int      `json:"answered"`
		Read     []string `json:"questions_read_by_isp"`
		Named    int      `json:"packets_with_a_name"`
		Code     string   `json:"code"`
		Failures []string `json:"did_not_hold"`
	} `json:"acts"`
}

// run gives the demo's document, or skips where there can be none.
func run(t *testing.T, o demo.Options) (document, error) {
	t.Helper()
	var out bytes.Buffer
	o.Out, o.JSON = &out, true
	err := demo.Run(t.Context(), o)
	unshown(t, err)
	var d document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatalf("not one JSON document: %v\n%s", err, out.Bytes())
	}
	return d, err
}

// unshown skips the test where this machine allows no demo, or fails it where everything is required.
func unshown(t *testing.T, err error) {
	t.Helper()
	switch {
	case !errors.Is(err, demo.ErrNotShown):
	case os.Getenv("WATERTIGHT_LAB") == "required":
		t.Fatal(err)
	default:
		t.Skip("NOT TESTED:", err)
	}
}

func TestDemo_ShowsALeakThenASealThenARefusal(t *testing.T) {
	d, err := run(t, demo.Options{})
	if err != nil || d.Verdict != "held" || len(d.Acts) != 3 {
		t.Fatalf("%v: %+v", err, d)
	}
	ordinary, sealed, closed := d.Acts[0], d.Acts[1], d.Acts[2]
	if len(ordinary.Read) == 0 || ordinary.Named == 0 || ordinary.Answered != ordinary.Calls {
		t.Errorf("the ordinary client: %+v", ordinary)
	}
	if len(sealed.Read) != 0 || sealed.Named != 0 || sealed.Answered != sealed.Calls {
		t.Errorf("through Watertight: %+v", sealed)
	}
	if len(closed.Read) != 0 || closed.Named != 0 || closed.Answered != 0 || closed.Code != "RESOLVER_UNREACHABLE" {
		t.Errorf("with the resolver cut off: %+v", closed)
	}
}

func TestDemo_FailsIfAnyPartDoesNotHold(t *testing.T) {
	for spoiled, sabotages := range demo.Sabotages {
		for _, sabotage := range sabotages {
			t.Run(spoiled+"/"+string(sabotage), func(t *testing.T) {
				d, err := run(t, demo.Sabotaged(demo.Options{}, sabotage))
				if !errors.Is(err, demo.ErrNotHeld) || d.Verdict != "not_held" || len(d.Acts) != 3 {
					t.Fatalf("it went unnoticed: %v: %+v", err, d)
				}
				for _, act := range d.Acts {
					// A proxy that leaks does so in the last act too.
					if noticed := len(act.Failures) > 0; noticed != (act.ID == spoiled) && !(sabotage == "leaky" && act.ID == "cut_off") {
						t.Errorf("the act %s: %v", act.ID, act.Failures)
					}
				}
				seen := fmt.Sprint(d.Acts)
				for _, want := range claims[string(sabotage)] {
					if !strings.Contains(seen, want) {
						t.Errorf("it was not seen in %q: %v", want, seen)
					}
				}
			})
		}
	}
}

// claims are those that a sabotage must break.
var claims = map[string][]string{
	"muted":   {"reads the question for api.example.net", "provider's resolver is asked", "names are found", "asked by the provider"},
	"leaky":   {"reads no DNS question", "resolver is not asked", "no packet holds a name", "encrypted resolver alone"},
	"open":    {"no call arrives", "told that the resolver is gone", "asked by nobody"},
	"parting": {"reads no DNS question", "resolver is not asked", "no packet holds a name", "resolver and the API alone", "asked by nobody"},
}

func TestDemo_WritesPlainTextWithATableAtItsEnd(t *testing.T) {
	var out bytes.Buffer
	err := demo.Run(t.Context(), demo.Options{Out: &out})
	unshown(t, err)
	text := out.String()
	if err != nil || strings.Contains(text, "\x1b") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, want := range []string{"the provider read   api.example.net", "the provider read   nothing", "RESOLVER_UNREACHABLE", "Everything held."} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
