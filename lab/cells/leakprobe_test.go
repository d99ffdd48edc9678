package cells

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
	"watertight/leaktest/probe"
	"watertight/wire"
)

const probingRole = "probing"

// probing has the program contain itself with a configuration, and prints what it found inside, or outside where there is none.
func probing(args []string) int {
	s := probe.Spec{Name: args[1], ForeignRefused: true, LiteralRefused: true, Sockets: args[2:]}
	outcomes := []probe.Outcome(nil)
	if args[0] == "" {
		s.Devices = []string{"uplink"}
		outcomes = probe.Here(s)
	} else {
		_ = os.Setenv("WATERTIGHT_LAB_ROLE", lab.WatertightRole)
		var err error
		if outcomes, err = probe.Run(context.Background(), []string{"-c", args[0]}, s); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(outcomes); err != nil {
		return 1
	}
	return 0
}

// probed gives what was found.
func probed(t *testing.T, s *lab.Scene, config string, sockets ...string) ([]probe.Outcome, internet.Result) {
	t.Helper()
	r := lab.Run(t, lab.Self(s.Client, probingRole, append([]string{config, s.Canary}, sockets...)...))
	var outcomes []probe.Outcome
	if err := json.Unmarshal([]byte(r.Stdout), &outcomes); err != nil || r.Code != 0 {
		t.Fatalf("exit code %d, %v: %s", r.Code, err, r.Text())
	}
	return outcomes, r
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
			file := filepath.Join(t.TempDir(), "watertight.yaml")
			if err := os.WriteFile(file, []byte(dot(s)), 0o644); err != nil {
				t.Fatal(err)
			}
			inside, r := probed(t, s, file)
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

func TestProbe_WhatIsNotContainedIsNotTried(t *testing.T) {
	s := lab.NewScene(t, internet.V4)
	file := filepath.Join(t.TempDir(), "watertight.yaml")
	if err := os.WriteFile(file, []byte("channels: {direct: {resolver: {upstreams: [nonsense]}}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := lab.Run(t, lab.Self(s.Client, probingRole, file, s.Canary))
	if r.Code == 0 || !strings.Contains(r.Stderr, "nonsense") {
		t.Errorf("exit code %d: %s", r.Code, r.Text())
	}
	if leaks := s.Leaks(s.Gather(t, r)); len(leaks) > 0 {
		t.Error("LEAK:", leaks)
	}
}
