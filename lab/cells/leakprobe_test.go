package cells

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/contain"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/leaktest"
	"watertight/leaktest/probe"
	"watertight/wire"
)

const probingRole = "probing"

// probing tries everything from where it is, and prints what it found.
func probing([]string) int {
	var s probe.Spec
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(probe.Here(s)); err != nil {
		return 1
	}
	return 0
}

// probed gives what a program found on the client's host: inside, with a configuration, or outside.
func probed(t *testing.T, s *lab.Scene, config string) ([]probe.Outcome, internet.Result) {
	t.Helper()
	p := lab.Self(s.Client, probingRole)
	if config != "" {
		p = contained(t, s, config, contain.Self, probe.Argument)
	}
	p.Stdin = lab.Must(probe.Spec{Name: s.Canary, ForeignRefused: true, LiteralRefused: true, Devices: []string{"uplink"}}.Input())(t)
	r := lab.Run(t, p)
	return lab.Must(probe.Parse([]byte(r.Stdout)))(t), r
}

func TestProbe_FromInsideNothingLeadsElsewhereAndOutsideItWouldBeFound(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			t.Parallel()
			control := lab.NewScene(t, families)
			open, r := probed(t, control, "")
			if leaks := control.Leaks(control.Gather(t, r)); len(leaks) == 0 {
				t.Error("INVALID: outside, nothing was seen to leak")
			}
			var found []string
			for _, o := range open {
				if !o.Held && !slices.Contains(found, o.ID) {
					found = append(found, o.ID)
				}
			}
			for _, id := range []string{probe.Name, probe.Direct, probe.Neighbour, probe.Device, probe.Raw} {
				if !slices.Contains(found, id) {
					t.Errorf("INVALID: outside, %s finds nothing: %+v", id, ofKind(open, id))
				}
			}
			s := lab.NewScene(t, families)
			inside, r := probed(t, s, dot(s))
			for _, id := range probe.IDs() {
				if len(ofKind(inside, id)) == 0 {
					t.Errorf("%s is not tried", id)
				}
			}
			for _, o := range inside {
				if !o.Held {
					t.Errorf("%s: %+v", o.ID, o)
				}
			}
			for _, leak := range s.Leaks(s.Gather(t, r)) {
				t.Error("LEAK:", leak)
			}
		})
	}
}

func ofKind(all []probe.Outcome, id string) (of []probe.Outcome) {
	for _, o := range all {
		if o.ID == id {
			of = append(of, o)
		}
	}
	return of
}

func TestProbe_ASocketOfANameServiceIsFoundWhereItCanBeReached(t *testing.T) {
	lab.Inside(t)
	path := filepath.Join(t.TempDir(), "resolve.sock")
	l := lab.Must(wire.ListenUnix(path))(t)
	defer l.Close()
	of := ofKind(probe.Here(probe.Spec{Sockets: []string{path}}), probe.Socket)
	i := slices.IndexFunc(of, func(o probe.Outcome) bool { return o.To == path })
	if i < 0 || of[i].Held || of[i].Result != probe.Answered {
		t.Errorf("%+v", of)
	}
}

func TestProbe_TheLeakTestTriesItInside(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			t.Parallel()
			s := lab.NewScene(t, families)
			file := filepath.Join(t.TempDir(), "watertight.yaml")
			if err := os.WriteFile(file, []byte(dot(s)), 0o644); err != nil {
				t.Fatal(err)
			}
			r := lab.Run(t, lab.Self(s.Client, lab.WatertightRole, "test", "-c", file, "--json", "--only", strings.Join(probe.IDs(), ",")))
			var report leaktest.Report
			if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil {
				t.Fatalf("%v: %s", err, r.Text())
			}
			for _, id := range probe.IDs() {
				if c, ok := report.Find(id); !ok || c.Verdict != leaktest.Sealed || len(c.Evidence) == 0 {
					t.Errorf("%s: %+v", id, c)
				}
			}
			for _, leak := range s.Leaks(s.Gather(t, r)) {
				t.Error("LEAK:", leak)
			}
		})
	}
}
