package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"watertight/contain"
	"watertight/lab"
	"watertight/lab/internet"
)

// program is a program as people run it where nothing stands before the network: it is told of no proxy.
type program struct {
	name, needs string
	modules     []string // that needs, a Python, must have
	files       []string // that it needs besides
	check       []string // a command that fails where something is missing
	run         func(w *wild, host string) *internet.Program
	want        func(w *wild, host string) string // in what it writes
	says        string                            // besides
	cgo         bool                              // it has to be built with cgo
}

func (p program) require(t testing.TB) {
	t.Helper()
	if info, ok := debug.ReadBuildInfo(); p.cgo && (!ok || !slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "1"})) {
		lab.Lacking(t, "%s needs a C compiler", p.name)
	}
	lab.Client{Name: p.name, Needs: p.needs, Modules: p.modules, Files: p.files}.Require(t)
	if len(p.check) > 0 {
		if out, err := exec.CommandContext(t.Context(), lab.Must(internet.Find(p.check[0]))(t), p.check[1:]...).CombinedOutput(); err != nil {
			lab.Lacking(t, "what %s needs: %v\n%s", p.name, err, out)
		}
	}
}

// host is the name that the program calls, and nobody else.
func (p program) host(s *lab.Scene) string {
	return strings.ReplaceAll(p.name, " ", "-") + "-" + s.Canary
}

// call lets the program make its call, contained by `watertight exec` with a configuration; empty: by nothing.
func (p program) call(t testing.TB, w *wild, config string, flags ...string) {
	t.Helper()
	host := p.host(w.Scene)
	command := p.run(w, host)
	if config != "" {
		command = contained(t, w.Scene, config, command, flags...)
	}
	r := lab.Run(t, command)
	if r.Err != nil || r.Code != 0 || !strings.Contains(r.Text(), p.want(w, host)) || !strings.Contains(r.Text(), p.says) {
		t.Errorf("the call did not arrive (%v, exit code %d):\n%s", r.Err, r.Code, r.Text())
	}
}

// contained is a program as `watertight exec` runs it.
func contained(t testing.TB, s *lab.Scene, config string, p *internet.Program, flags ...string) *internet.Program {
	t.Helper()
	file := filepath.Join(s.Dir, "exec.yaml")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	args := append([]string{"exec", "-c", file}, flags...)
	path := p.Path
	if path == contain.Self { // it lies in a directory of its own below /tmp
		path = lab.Must(os.Executable())(t)
		args = append(args, "--bind", path)
	}
	args = append(append(append(args, "--", "env"), p.Env...), path)
	c := lab.Self(s.Client, lab.WatertightRole, append(args, p.Args...)...)
	c.Stdin = p.Stdin
	return c
}

// Each program calls a name of its own, all of them on one small internet, whose every packet is captured: by itself, where
// the provider must be seen to learn the name, and contained.
func TestExec_ProgramsOfOthersReachTheirOriginsAndNobodyElse(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			here := programs()
			ran := map[string]bool{} // left out by `go test -run`, or not installed: not
			t.Run("control", func(t *testing.T) {
				w := newWild(t, families)
				for _, p := range here {
					t.Run(p.name, func(t *testing.T) {
						p.require(t)
						ran[p.name] = true
						p.call(t, w, "")
					})
				}
				e := w.Gather(t, internet.Result{})
				for _, p := range here {
					if ran[p.name] && !slices.ContainsFunc(e.ISP, func(q internet.Asked) bool { return q.Name == p.host(w.Scene) }) {
						t.Errorf("INVALID: %s alone was not seen to tell the provider the name", p.name)
					}
				}
				leaks := strings.Join(w.Leaks(e), "\n")
				for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
					if len(ran) > 0 && !strings.Contains(leaks, want) {
						t.Errorf("INVALID: a leak went unseen: nothing says %q", want)
					}
				}
			})
			w := newWild(t, families)
			for _, p := range here {
				t.Run(p.name, func(t *testing.T) {
					p.require(t)
					if !ran[p.name] {
						t.Skip("its control was left out")
					}
					p.call(t, w, lab.DirectConfig(w.Scene, w.Resolver.DoTURL()))
				})
			}
			e := w.Gather(t, internet.Result{})
			for _, leak := range w.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			for _, p := range here {
				if ran[p.name] && !slices.ContainsFunc(e.Authority, func(q internet.Asked) bool { return q.Name == p.host(w.Scene) }) {
					t.Errorf("%s: the authority was never asked for its name: who resolved it?", p.name)
				}
			}
		})
	}
}
