package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"watertight/doctor"
	"watertight/doctor/rules"
)

const (
	leaky  = "https_proxy=socks5://127.0.0.1:8080\n"
	mended = "https_proxy=http://127.0.0.1:8080\n"
)

// leakyHost makes the files of a host with one thing that the doctor can mend.
func leakyHost(t *testing.T) (root, file string) {
	t.Helper()
	root = t.TempDir()
	file = filepath.Join(root, "etc", "environment")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(leaky), 0o644); err != nil {
		t.Fatal(err)
	}
	return root, file
}

func TestDoctorFix_asksBeforeEachChange(t *testing.T) {
	for answer, want := range map[string]string{"y\n": mended, "yes\n": mended, "n\n": leaky, "\n": leaky, "yikes\n": leaky, "": leaky} {
		root, file := leakyHost(t)
		var out, errs bytes.Buffer
		code := Main([]string{"doctor", "--root", root, "--only", "ENV-SOCKS5-LOCAL", "--fix"}, strings.NewReader(answer), &out, &errs)
		data, err := os.ReadFile(file)
		if err != nil || string(data) != want {
			t.Errorf("%q: the file is %q, %v", answer, data, err)
		}
		if !strings.Contains(out.String(), "make this change? [y/N]") || (code == 0) != (want == mended) {
			t.Errorf("%q: code %d\n%s%s", answer, code, out.String(), errs.String())
		}
	}
}

func TestDoctorWatch_tellsWhatComesAndGoes(t *testing.T) {
	root, file := leakyHost(t)
	picked, err := doctor.Pick(rules.All(), []string{"ENV-SOCKS5-LOCAL"})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 4*doctorPause)
		defer cancel()
		var out, errs bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetContext(ctx)
		cmd.SetOut(&out)
		cmd.SetErr(&errs)
		go func() {
			time.Sleep(doctorPause * 3 / 2)
			if err := os.WriteFile(file, []byte(mended), 0o644); err != nil {
				t.Error(err)
			}
		}()
		o := doctorFlags{root: root, json: true}
		if err := o.watch(cmd, picked); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `"event":"new"`) || !strings.Contains(lines[1], `"event":"resolved"`) || !strings.Contains(lines[1], "ENV-SOCKS5-LOCAL") {
			t.Errorf("%q", lines)
		}
	})
}

// What a rule found that did not finish this time is not said to be gone.
func TestDoctorWatch_doesNotCallGoneWhatWasNotLookedAt(t *testing.T) {
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	o := doctorFlags{}
	f := doctor.Finding{ID: "A", Severity: doctor.High, Fact: "f"}
	known, err := o.news(cmd, nil, doctor.Report{Findings: []doctor.Finding{f}})
	if err != nil || !strings.Contains(out.String(), "NEW, HIGH") {
		t.Fatalf("%v %s", err, out.String())
	}
	out.Reset()
	known, err = o.news(cmd, known, doctor.Report{Unfinished: []doctor.Unfinished{{ID: "A"}}})
	if err != nil || out.Len() > 0 || len(known) != 1 {
		t.Errorf("%v %s %v", err, out.String(), known)
	}
	if _, err = o.news(cmd, known, doctor.Report{}); err != nil || !strings.Contains(out.String(), "RESOLVED") {
		t.Errorf("%v %s", err, out.String())
	}
}
