package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script. Beside the commands of testscript they have these:
//
//	world                      starts resolvers and origins, writes ca.pem and watertight.yaml, and sets DOT, DOH,
//	                           PLAIN and SECURE (HOST:PORT), DEAD (a port) and PORT
//	queries N                  the resolvers were asked N questions so far
//	exits CODE COMMAND...      runs a command that must exit with CODE; then stdout and stderr hold what it wrote
//	start NAME ARGS...         starts watertight with arguments
//	await NAME REGEXP [VAR]    waits until it wrote that, on either output; the first group is put into VAR
//	signal NAME TERM|HUP|INT   sends a signal
//	ends NAME CODE             waits for its end, and writes NAME.out and NAME.err
//	json FILE [PATH [VALUE]]   FILE (or stdout) is exactly one JSON document, and holds a value at PATH (a.0.b)
//	wrong ARGS...              for each line of the file wrong.txt, `ARGS | REGEXP`: watertight refuses it, code 2
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "xdg"))
			e.Setenv("XDG_RUNTIME_DIR", e.WorkDir)
			e.Values["scene"] = &scene{programs: map[string]*program{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"world": cmdWorld, "queries": cmdQueries, "exits": cmdExits, "start": cmdStart, "await": cmdAwait,
			"signal": cmdSignal, "ends": cmdEnds, "json": cmdJSON, "wrong": cmdWrong,
		},
	})
}

func cmdWorld(ts *testscript.TestScript, _ bool, _ []string) {
	w, end, err := newWorld(ts.Getenv("WORK"))
	ts.Check(err)
	ts.Defer(end)
	sceneOf(ts).world = w
	for k, v := range map[string]string{
		"DOT": w.dotURL(), "DOH": w.dohURL(), "PLAIN": w.plain, "SECURE": w.secure, "PORT": w.port, "DEAD": w.dead,
	} {
		ts.Setenv(k, v)
	}
}

func cmdQueries(ts *testscript.TestScript, _ bool, args []string) {
	w := sceneOf(ts).world
	if w == nil || len(args) != 1 {
		ts.Fatalf("usage: queries N, after world")
	}
	names := append(w.dot.Names(), w.doh.Names()...)
	asked := 0
	for _, n := range names {
		if n != "" { // the question by which a channel becomes ready
			asked++
		}
	}
	if strconv.Itoa(asked) != args[0] {
		ts.Fatalf("the resolvers were asked for %q", names)
	}
}

// scene is what the commands of one script share.
type scene struct {
	*world
	programs map[string]*program
}

func sceneOf(ts *testscript.TestScript) *scene { return ts.Value("scene").(*scene) }

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	exits(ts, args[0], args[1:])
}

func exits(ts *testscript.TestScript, code string, args []string) {
	err := ts.Exec(args[0], args[1:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != code {
		ts.Fatalf("%q: exit code %d, want %s", args, got, code)
	}
}

func cmdStart(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME ARGS...")
	}
	var env []string
	for _, k := range []string{"PATH", "HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "WATERTIGHT_CONFIG", "HTTPS_PROXY", "ALL_PROXY", "WT_PASSWORD"} {
		if v := ts.Getenv(k); v != "" {
			env = append(env, k+"="+v)
		}
	}
	p, err := startProgram(ts.MkAbs("."), env, args[1:])
	ts.Check(err)
	sceneOf(ts).programs[args[0]] = p
	ts.Defer(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
}

func named(ts *testscript.TestScript, name string) *program {
	p := sceneOf(ts).programs[name]
	if p == nil {
		ts.Fatalf("no program %s was started", name)
	}
	return p
}

func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await NAME REGEXP [VAR]")
	}
	p := named(ts, args[0])
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	found, err := p.all.await(re, p.ended)
	if err != nil {
		ts.Fatalf("%v; the program wrote:\n%s\nand as errors:\n%s", err, p.out, p.errors)
	}
	if len(args) == 3 {
		ts.Setenv(args[2], found[1])
	}
}

var signals = map[string]os.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 || signals[args[1]] == nil {
		ts.Fatalf("usage: signal NAME TERM|HUP|INT")
	}
	ts.Check(named(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

func cmdEnds(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: ends NAME CODE")
	}
	p := named(ts, args[0])
	code, err := p.end()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), []byte(p.out.String()), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), []byte(p.errors.String()), 0o600))
	if strconv.Itoa(code) != args[1] {
		ts.Fatalf("exit code %d, want %s; it wrote:\n%s\nand as errors:\n%s", code, args[1], p.out, p.errors)
	}
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 3 {
		ts.Fatalf("usage: json FILE [PATH [VALUE]]")
	}
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		ts.Fatalf("%s is not JSON: %v", args[0], err)
	}
	if _, err := dec.Token(); err != io.EOF {
		ts.Fatalf("%s holds more than one JSON document", args[0])
	}
	if len(args) == 1 {
		return
	}
	value, ok := at(doc, strings.Split(args[1], "."))
	got := fmt.Sprint(value)
	if ok && len(args) == 3 {
		ok = got == args[2]
	}
	if ok == neg {
		ts.Fatalf("%s holds %q at %s", args[0], got, args[1])
	}
}

// at walks to a value of a JSON document.
func at(doc any, path []string) (any, bool) {
	for _, key := range path {
		switch d := doc.(type) {
		case map[string]any:
			v, ok := d[key]
			if !ok {
				return nil, false
			}
			doc = v
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(d) {
				return nil, false
			}
			doc = d[i]
		default:
			return nil, false
		}
	}
	return doc, true
}

// placed begins an error of a configuration file: its place.
var placed = regexp.MustCompile(`^[^ :]+:\d+:\d+: `)

// cmdWrong tries wrong inputs. Each must be refused as bad usage, with nothing on standard output, in few lines, and
// without the trace of a fault of the program.
func cmdWrong(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: wrong FILE")
	}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		command, want, ok := strings.Cut(line, " | ")
		if !ok {
			ts.Fatalf("%q: no ` | REGEXP`", line)
		}
		fields := strings.Fields(command)
		for i, f := range fields {
			switch {
			case f == "''":
				fields[i] = ""
			default:
				fields[i] = os.Expand(f, ts.Getenv)
			}
		}
		exits(ts, "2", append([]string{"watertight"}, fields...))
		said := ts.ReadFile("stderr")
		switch {
		case ts.ReadFile("stdout") != "":
			ts.Fatalf("%q: bad usage writes to standard output", command)
		case !regexp.MustCompile(want).MatchString(said):
			ts.Fatalf("%q does not say %q, but:\n%s", command, want, said)
		case !strings.HasPrefix(said, "watertight: ") && !placed.MatchString(said), strings.Count(said, "\n") > 4, strings.Contains(said, "goroutine "):
			ts.Fatalf("%q: an ugly error:\n%s", command, said)
		}
	}
}
