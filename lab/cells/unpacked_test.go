package cells

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"watertight/lab"
	"watertight/lab/internet"
)

// Daemons that resolve for a host must never be installed for a test: its own names would go by them. They are unpacked,
// once, below the user's cache, and run in namespaces alone.
const (
	unpackedVar = "WATERTIGHT_LAB_UNPACKED" // their directory, or, after "no:", why there is none
	fetchLimit  = time.Minute
)

var unpackedPackages = []string{"nscd", "systemd-resolved", "libsystemd-shared"}

// fetch gets the packages, before the tests are in a network of their own from which nobody can be reached. It does so
// for the tests that need them only.
func fetch(test string) {
	pattern := ""
	for i, arg := range os.Args {
		if strings.HasPrefix(strings.TrimLeft(arg, "-"), "test.list") {
			return
		}
		if text, ok := strings.CutPrefix(strings.TrimLeft(arg, "-"), "test.run="); ok {
			pattern = text
		} else if strings.TrimLeft(arg, "-") == "test.run" && i+1 < len(os.Args) {
			pattern = os.Args[i+1]
		}
	}
	pattern, _, _ = strings.Cut(pattern, "/")
	if wanted, err := regexp.MatchString(pattern, test); err != nil || !wanted || os.Getenv(unpackedVar) != "" {
		return
	}
	dir, err := unpack()
	if err != nil {
		dir = "no: " + err.Error()
	}
	if err := os.Setenv(unpackedVar, dir); err != nil {
		panic(err)
	}
}

// unpack gives the directory with the packages, and gets them if they are not there yet.
func unpack() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	parent := filepath.Join(cache, "watertight-lab")
	dir := filepath.Join(parent, strings.Join(unpackedPackages, "+"))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(parent, "part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
	defer cancel()
	run := func(name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := run("apt-get", append([]string{"-q", "download"}, unpackedPackages...)...); err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(files) != len(unpackedPackages) {
		return "", fmt.Errorf("apt-get brought %q: %w", files, err)
	}
	for _, file := range files {
		if err := run("dpkg", "-x", file, "all"); err != nil {
			return "", err
		}
	}
	if err := os.Rename(filepath.Join(work, "all"), dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
}

// daemons gives the programs of the packages, and the directories of their libraries.
type daemons struct{ nscd, resolved, libraries string }

// needDaemons skips the test, or fails it, where the packages are not to be had.
func needDaemons(t testing.TB) (d daemons) {
	t.Helper()
	dir := os.Getenv(unpackedVar)
	if why, none := strings.CutPrefix(dir, "no: "); none || dir == "" {
		if os.Getenv("CI") != "true" { // what scripts/test-packages finds installed says nothing of these
			t.Skipf("NOT TESTED: nscd and systemd-resolved, which are unpacked and not installed, are not to be had: %s", why)
		}
		lab.Lacking(t, "nscd and systemd-resolved, which are unpacked and not installed: %s", why)
	}
	for _, where := range []struct {
		to       *string
		patterns []string
	}{
		{&d.nscd, []string{"usr/sbin/nscd"}},
		{&d.resolved, []string{"lib/systemd/systemd-resolved", "usr/lib/systemd/systemd-resolved"}},
		{&d.libraries, []string{"usr/lib/*/systemd", "lib/*/systemd", "usr/lib/systemd"}},
	} {
		for _, pattern := range where.patterns {
			if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 && *where.to == "" {
				*where.to = found[0]
			}
		}
		if *where.to == "" {
			lab.Lacking(t, "%s in the packages below %s", where.patterns[0], dir)
		}
	}
	return d
}

// copied gives this test binary as a file that programs find which do not see /proc as it is here.
func copied(t testing.TB, in *internet.Internet) string {
	t.Helper()
	path := filepath.Join(in.Dir, "self")
	b := lab.Must(os.ReadFile("/proc/self/exe"))(t)
	lab.Must(0, os.WriteFile(path, b, 0o755))(t)
	return path
}
