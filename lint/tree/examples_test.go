package tree

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var page = regexp.MustCompile(`\bdocs/[A-Za-z0-9_-]+\.md\b`)

// A page of the documentation is named in help texts, comments and scripts too, where no link is checked.
func TestEveryPageThatAFileNames_isThere(t *testing.T) {
	files := tracked(t)
	count := 0
	for _, name := range files {
		if strings.Contains(name, "testdata/") {
			continue
		}
		for i, line := range strings.Split(read(t, name), "\n") {
			for _, path := range page.FindAllString(line, -1) {
				count++
				if !slices.Contains(files, path) {
					t.Errorf("%s:%d names %s, which is not there", name, i+1, path)
				}
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d pages are named", count)
	}
}

// What a document shows is run: as it stands where that ends by itself and stays on this host, and a `run` as the check
// of the same configuration.
func TestEveryCommandInTheDocuments_runs(t *testing.T) {
	program := program(t)
	ends := map[string]bool{"env": true, "version": true, "completion": true, "help": true, "config": true, "explain": true}
	done := map[string]bool{}
	for name, text := range documents(t) {
		for _, c := range commands(name, text) {
			args := slices.DeleteFunc(slices.Clone(c.words), func(w string) bool { return w == "…" })
			key := strings.Join(args, " ")
			if done[key] || strings.ContainsAny(key, "<>") || regexp.MustCompile(`\b(-c|FILE|SHELL|COMMAND|NAME|URL|ADDR)\b`).MatchString(key) {
				continue // a placeholder, or a file that is not here
			}
			switch {
			case args[0] == "run":
				args = append([]string{"config", "check"}, args[1:]...)
			case !ends[args[0]]:
				continue
			}
			done[key] = true
			cmd := exec.Command(program, args...)
			cmd.Dir = t.TempDir()
			cmd.Env = []string{"HOME=" + cmd.Dir, "PATH=/usr/bin:/bin"}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: watertight %s: %v\n%s", c.where, key, err, out)
			}
		}
	}
	for _, want := range []string{"env", "run --resolver dns4eu", "config show"} {
		if !done[want] {
			t.Errorf("`watertight %s` was not run", want)
		}
	}
	t.Logf("%d commands", len(done))
}
