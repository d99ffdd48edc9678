// Package doctortest makes hosts for tests of rules out of texts.
//
// A host is a txtar archive. Its files are those of the host, and of a process /proc/PID/cmdline and environ with one
// string on each line. A name "PATH -> TARGET" is a symbolic link. Some names are not files of the host:
//
//	OS              a value of GOOS; linux if it is not there
//	ENV             NAME=VALUE lines: the environment of who asks
//	CONFIG          our configuration; the defaults if it is not there
//	STATUS          what the running proxy told of itself, as JSON; no proxy runs if it is not there
//	FIREWALL        what the kernel has of nf_tables, as JSON of doctor.Firewall; it is not seen if it is not there
//	GUARD           what the guard of the host was found to be, as JSON of guard.State; it is not seen if it is not there
//	NOW             the time, as RFC 3339; 2026-06-01T12:00:00Z if it is not there
//	BUILD           VERSION TIME TRAPPED of our own program
//	MTIME           PATH TIME lines: when files were written; an hour before NOW for all others
//	NOCA            no authorities; without it, the host has a bundle where Debian has it
//
// What the comment of the archive says is for people, but for lines that begin with "want": each is the id of a finding
// and how one line of its evidence begins. A host without such a line is clean.
package doctortest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"watertight/config"
	"watertight/control"
	"watertight/doctor"
	"watertight/guard"
)

// Want is a finding that a host has.
type Want struct {
	ID       string
	Evidence string // how one line of it begins
}

// Case is a host of a test.
type Case struct {
	Name    string
	Comment string
	Wants   []Want
	archive *txtar.Archive
}

// Cases reads the archives *.txtar of a directory, in the order of their names.
func Cases(t testing.TB, dir string) []Case {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no hosts in %s: %v", dir, err)
	}
	slices.Sort(names)
	var cases []Case
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, Read(t, strings.TrimSuffix(filepath.Base(name), ".txtar"), data))
	}
	return cases
}

// Read reads one archive.
func Read(t testing.TB, name string, text []byte) Case {
	t.Helper()
	a := txtar.Parse(text)
	c := Case{Name: name, archive: a}
	for line := range strings.Lines(string(a.Comment)) {
		line = strings.TrimSpace(line)
		rest, ok := strings.CutPrefix(line, "want ")
		if !ok {
			if c.Comment == "" {
				c.Comment = line
			}
			continue
		}
		id, evidence, _ := strings.Cut(strings.TrimSpace(rest), " ")
		c.Wants = append(c.Wants, Want{id, strings.TrimSpace(evidence)})
	}
	return c
}

// Host makes the host. It is gone with the test.
func (c Case) Host(t testing.TB) *doctor.Host { return c.HostWith(t, nil) }

// HostWith makes the host with further files, by their paths without the first slash: those that are no text.
func (c Case) HostWith(t testing.TB, files map[string][]byte) *doctor.Host {
	t.Helper()
	return Open(t, c.optionsWith(t, files))
}

// Open looks at a host.
func Open(t testing.TB, o doctor.Options) *doctor.Host {
	t.Helper()
	h, err := doctor.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// Options makes the host's files, which are gone with the test, and gives what opens it.
func (c Case) Options(t testing.TB) doctor.Options { return c.optionsWith(t, nil) }

func (c Case) optionsWith(t testing.TB, files map[string][]byte) doctor.Options {
	t.Helper()
	o := doctor.Options{Root: t.TempDir(), OS: "linux", Now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
	}
	for name, data := range files {
		must(put(o.Root, txtar.File{Name: name, Data: data}))
	}
	var text []byte
	times, bundle := map[string]time.Time{}, true
	for _, f := range c.archive.Files {
		if name, target, ok := strings.Cut(f.Name, " -> "); ok {
			path := filepath.Join(o.Root, filepath.FromSlash(name))
			must(os.MkdirAll(filepath.Dir(path), 0o755))
			must(os.Symlink(target, path))
			continue
		}
		word := strings.TrimSpace(string(f.Data))
		switch f.Name {
		case "OS":
			o.OS = word
		case "ENV":
			o.Env = strings.Split(word, "\n")
		case "CONFIG":
			text = f.Data
		case "STATUS":
			o.Status = new(control.Status)
			must(json.Unmarshal(f.Data, o.Status))
		case "FIREWALL":
			o.Firewall = new(doctor.Firewall)
			must(json.Unmarshal(f.Data, o.Firewall))
		case "GUARD":
			o.Guard = new(guard.State)
			must(json.Unmarshal(f.Data, o.Guard))
		case "NOCA":
			bundle = false
		case "MTIME":
			for _, line := range strings.Split(word, "\n") {
				name, at, _ := strings.Cut(line, " ")
				times[name], err = time.Parse(time.RFC3339, at)
				must(err)
			}
		case "NOW":
			o.Now, err = time.Parse(time.RFC3339, word)
			must(err)
		case "BUILD":
			part := strings.Fields(word)
			if len(part) != 3 {
				t.Fatalf("%s: BUILD is not VERSION TIME TRAPPED", c.Name)
			}
			o.Build.Version = part[0]
			o.Build.Time, err = time.Parse(time.RFC3339, part[1])
			must(err)
			o.Build.Trapped, err = strconv.ParseUint(part[2], 10, 64)
			must(err)
		default:
			must(put(o.Root, f))
		}
	}
	if bundle {
		must(put(o.Root, txtar.File{Name: "etc/ssl/certs/ca-certificates.crt", Data: []byte("-----BEGIN CERTIFICATE-----\n")}))
	}
	must(date(o.Root, o.Now.Add(-time.Hour), times))
	o.Config, err = config.Parse("/etc/watertight/watertight.yaml", text, nowhere())
	must(err)
	return o
}

// date gives every file its time.
func date(root string, usual time.Time, times map[string]time.Time) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		at, ok := times[filepath.ToSlash(rel)]
		if !ok {
			at = usual
		}
		return os.Chtimes(path, at, at)
	})
}

// put writes a file of the host. A name that ends in a slash is a directory; " 0644" at its end is the mode.
func put(root string, f txtar.File) error {
	name, mode := f.Name, fs.FileMode(0o644)
	if i := strings.LastIndex(name, " 0"); i > 0 {
		m, err := strconv.ParseUint(name[i+1:], 8, 12)
		if err != nil {
			return err
		}
		name, mode = name[:i], fs.FileMode(m)
	}
	path := filepath.Join(root, filepath.FromSlash(name))
	if strings.HasSuffix(name, "/") {
		return os.MkdirAll(path, 0o755)
	}
	data := f.Data
	if parts := strings.Split(name, "/"); len(parts) == 3 && parts[0] == "proc" && (parts[2] == "cmdline" || parts[2] == "environ") {
		data = []byte(strings.ReplaceAll(string(data), "\n", "\x00"))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// nowhere is a host of which a configuration may read nothing.
func nowhere() config.Host {
	return config.Host{
		Getenv:   func(string) (string, bool) { return "", false },
		ReadFile: func(path string, _ int64) ([]byte, error) { return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist) },
		Exposed:  func(string) bool { return false },
	}
}

// Check compares what was found on the host with what it has: each want is met by a finding, and each finding is wanted.
func (c Case) Check(t *testing.T, r doctor.Report) {
	t.Helper()
	for _, u := range r.Unfinished {
		t.Errorf("%s did not finish: %s", u.ID, u.Reason)
	}
	for _, w := range c.Wants {
		if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return w.met(f) }) {
			t.Errorf("no finding %s with evidence %q", w.ID, w.Evidence)
		}
	}
	for _, f := range r.Findings {
		if !slices.ContainsFunc(c.Wants, func(w Want) bool { return w.met(f) }) {
			t.Errorf("a finding that is not wanted: %s: %s\n%s", f.ID, f.Fact, strings.Join(f.Evidence, "\n"))
		}
		if f.Fact == "" || f.Fix == "" || len(f.Clients) == 0 || len(f.Evidence) == 0 {
			t.Errorf("%s lacks a fact, evidence, clients or a fix", f.ID)
		}
	}
}

func (w Want) met(f doctor.Finding) bool {
	return f.ID == w.ID && slices.ContainsFunc(f.Evidence, func(e string) bool { return strings.HasPrefix(e, w.Evidence) })
}
