// Package tree holds what is written beside the code to the code: the commands that the documents name exist with
// their flags, the links lead somewhere, and no file carries a path of the machine that it was written on.
package tree

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// absent ends a test that lacks a program: loudly, and in CI as a failure.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("CI=true: " + what)
	}
	t.Skip("SKIPPED, not proven: " + what)
}

// tracked gives the files of the tree that belong to it, as paths from the root.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		absent(t, "git does not list the files here: "+err.Error())
	}
	var files []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if info, err := os.Stat(filepath.Join(root, name)); err == nil && info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	if len(files) < 10 {
		t.Fatalf("git lists %d files only", len(files))
	}
	return files
}

// documents gives every Markdown file of the tree with its text.
func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	for _, name := range tracked(t) {
		if strings.HasSuffix(name, ".md") && !strings.Contains(name, "testdata/") {
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			docs[name] = string(text)
		}
	}
	return docs
}

// A path below somebody's home, or below a directory that no package of a distribution makes.
var machinePath = regexp.MustCompile(`(^|[\s"'=(:])/(work|root|Users|farm|home/[a-z][a-z0-9_-]*|tmp/[a-z])/`)

func TestNoFile_carriesAPathOfAMachine(t *testing.T) {
	for _, name := range tracked(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) >= 0 {
			continue // not text
		}
		for i, line := range strings.Split(string(text), "\n") {
			if found := machinePath.FindString(line); found != "" {
				t.Errorf("%s:%d: %q is a path of one machine", name, i+1, strings.TrimSpace(found))
			}
		}
	}
}

func TestMachinePath_tellsAHomeFromADirectoryOfTheSystem(t *testing.T) {
	for text, want := range map[string]bool{
		"cd /" + "work/main": true, `"/` + `home/jo/x"`: true, "FILE=/" + "root/x": true,
		"/etc/watertight/watertight.yaml": false, "framework/main": false, "https://example.net/work/x": false, "/run/watertight/x": false,
	} {
		if got := machinePath.MatchString(text); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestEveryLinkInTheDocuments_leadsToAFile(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}

// command is one use of the program in a document.
type command struct {
	where string
	words []string
}

var (
	fence  = regexp.MustCompile("(?ms)^```(?:sh|bash|console|shell)\n(.*?)^```$")
	inline = regexp.MustCompile("`(watertight [^`\n]+)`")
	assign = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
)

// commands finds the program in the shell blocks and in the code spans of a document.
func commands(where, text string) []command {
	var lines []string
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		lines = append(lines, strings.Split(strings.ReplaceAll(m[1], "\\\n", " "), "\n")...)
	}
	for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		lines = append(lines, m[1])
	}
	var all []command
	for _, line := range lines {
		line, _, _ = strings.Cut(line, " #")
		for part := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(";&|()`", r) }) {
			words := strings.Fields(strings.Trim(strings.TrimSpace(part), `"'`))
			for len(words) > 0 && (words[0] == "$" || words[0] == "sudo" || words[0] == "eval" || assign.MatchString(words[0])) {
				words = words[1:]
			}
			if len(words) > 2 && words[0] == "go" && words[1] == "run" {
				words = slices.DeleteFunc(words[2:], func(w string) bool { return strings.HasPrefix(w, "-tags") || strings.HasPrefix(w, "-trimpath") })
			}
			if len(words) > 1 && (filepath.Base(words[0]) == "watertight") {
				all = append(all, command{where, words[1:]})
			}
		}
	}
	return all
}

func TestCommands_areFoundInBlocksAndInText(t *testing.T) {
	text := "Use `watertight env --shell fish`.\n```sh\nA=b ./watertight run -c x.yaml & # then\neval \"$(watertight env)\"\ngo run ./cmd/watertight demo\ncurl x | cat\n```\n"
	var got []string
	for _, c := range commands("x", text) {
		got = append(got, strings.Join(c.words, " "))
	}
	slices.Sort(got)
	if want := []string{"demo", "env", "env --shell fish", "run -c x.yaml"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// program builds watertight, and gives its path.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "watertight")
	build := exec.Command("go", "build", "-o", path, "./cmd/watertight")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func TestEveryCommandInTheDocuments_existsWithItsFlags(t *testing.T) {
	program := program(t)
	help := map[string]string{}
	known := func(path ...string) (string, bool) {
		key := strings.Join(path, " ")
		if _, asked := help[key]; !asked {
			out, err := exec.Command(program, append(path, "--help")...).CombinedOutput()
			if err != nil {
				out = nil
			}
			help[key] = string(out)
		}
		return help[key], help[key] != ""
	}
	count := 0
	for name, text := range documents(t) {
		for _, c := range commands(name, text) {
			count++
			check(t, c, known)
		}
	}
	if count == 0 {
		t.Error("no document names a command")
	}
}

// check holds one command to what the program's help says.
func check(t *testing.T, c command, known func(...string) (string, bool)) {
	t.Helper()
	top, _ := known()
	var path []string
	usage := top
	for _, w := range c.words {
		if w == "--" {
			return
		}
		name, _, _ := strings.Cut(w, "=")
		switch {
		case strings.HasPrefix(w, "-"):
			if !regexp.MustCompile(`(?m)(^|[\s,])` + regexp.QuoteMeta(name) + `\b`).MatchString(usage) {
				t.Errorf("%s: watertight %s has no flag %s", c.where, strings.Join(c.words, " "), name)
			}
		case regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(w) + `\s`).MatchString(usage):
			path = append(path, w)
			usage, _ = known(path...)
		case len(path) == 0:
			t.Errorf("%s: there is no command watertight %s", c.where, w)
			return
		}
	}
}
