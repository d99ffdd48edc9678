package demo_test

import (
	"bytes"
	"encoding/json"
	"errors"
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
	if errors.Is(err, demo.ErrNotShown) {
		if os.Getenv("WATERTIGHT_LAB") == "required" {
			t.Fatal(err)
		}
		t.Skip("NOT TESTED:", err)
	}
	var d document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatalf("not one JSON document: %v\n%s", err, out.Bytes())
	}
	return d, err
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

func TestDemo_FailsIfWatertightLeaks(t *testing.T) {
	d, err := run(t, demo.Sabotaged(demo.Options{}))
	if !errors.Is(err, demo.ErrNotHeld) || d.Verdict != "not_held" || len(d.Acts) != 3 {
		t.Fatalf("a leaking proxy went unnoticed: %v: %+v", err, d)
	}
	if len(d.Acts[0].Failures) != 0 {
		t.Errorf("the ordinary client: %v", d.Acts[0].Failures)
	}
	for _, want := range []string{"reads no DNS question", "resolver is not asked", "no packet holds a name", "encrypted resolver alone"} {
		if !strings.Contains(strings.Join(d.Acts[1].Failures, "\n"), want) {
			t.Errorf("the leak was not seen in %q: %v", want, d.Acts[1].Failures)
		}
	}
}

func TestDemo_WritesPlainTextWithATableAtItsEnd(t *testing.T) {
	var out bytes.Buffer
	err := demo.Run(t.Context(), demo.Options{Out: &out})
	if errors.Is(err, demo.ErrNotShown) {
		t.Skip("NOT TESTED:", err)
	}
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
