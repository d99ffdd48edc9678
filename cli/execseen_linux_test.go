package cli_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"watertight/lab"
)

// shell prepares a shell that runs `watertight exec` with what it has opened.
func (w *world) shell(t *testing.T, opens string, args ...string) *exec.Cmd {
	t.Helper()
	script := opens + ` exec -a watertight "$@"`
	return exec.Command("bash", append([]string{"-c", script, "sh", lab.Must(os.Executable())(t), "exec", "-c", w.config()}, args...)...)
}

func TestExec_GivesAProgramTheDescriptorsThatAreNamedAndNoOthers(t *testing.T) {
	lab.Need(t, "bash")
	w := execWorld(t)
	for title, c := range map[string]struct {
		opens string
		args  []string
		want  string
		code  int
		says  string
	}{
		"two of them, the first that there is too": {"exec 3<<<three 7<<<seven;", []string{"--keep-fd", "3", "--keep-fd", "7", "--", "sh", "-c", "cat <&3; cat <&7"}, "three\nseven\n", 0, ""},
		"one that is named twice":                  {"exec 5<<<five;", []string{"--keep-fd", "5,5", "--", "sh", "-c", "cat <&5; ls /proc/self/fd | grep -c ."}, "five\n5\n", 0, ""},
		"one that is not named":                    {"exec 5<<<five 6<<<six;", []string{"--keep-fd", "5", "--", "sh", "-c", "cat /proc/self/fd/6 2>/dev/null || echo none"}, "none\n", 0, ""},
		"one that was not given":                   {"", []string{"--keep-fd", "9", "--", "echo", "started"}, "", 125, "no descriptor 9"},
		"one that Watertight has opened":           {"exec 4<&-;", []string{"--keep-fd", "4", "--", "echo", "started"}, "", 125, "no descriptor 4"},
		"a standard one":                           {"", []string{"--keep-fd", "1", "--", "echo", "started"}, "", 125, "--keep-fd 1 is not between 3 and 1023"},
		"a directory":                              {"exec 5</;", []string{"--keep-fd", "5", "--", "echo", "started"}, "", 125, "descriptor 5 is a directory of the host"},
		"a directory, by your word":                {"exec 5</;", []string{"--keep-fd", "5", "--allow-any-fd", "--", "echo", "started"}, "started\n", 0, ""},
	} {
		out, errs, code := outcome(t, w.shell(t, c.opens, c.args...))
		if out != c.want || code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: %q, exit code %d: %s", title, out, code, errs)
		}
	}
}

func TestExec_VerboseSaysWhatStandsAroundAProgramAndWhatBecameOfWhatItSent(t *testing.T) {
	lab.Need(t, "curl")
	w := execWorld(t)
	startProxy(t, w)
	script := `curl -4 --silent "http://` + w.plain + `/hello"; curl -4 --silent "http://` + deadName + ":" + w.dead + `/" || true`
	for title, cmd := range map[string]*exec.Cmd{
		"by itself": w.exec(os.Getuid(), "-v", "--", "sh", "-c", script),
		"attached":  w.attach("-v", "--", "sh", "-c", script),
	} {
		_, errs, code := outcome(t, cmd)
		for _, want := range []string{
			`watertight: private to sh: .*/run`, `watertight: \d+ sockets were tried from inside`, `watertight: Landlock: .`,
			`watertight: sh: 2 names, [1-9]\d* questions; refused or failed: CONNECT_REFUSED 1\n`,
		} {
			if code != 0 || !regexp.MustCompile(want).MatchString(errs) {
				t.Errorf("%s, exit code %d: no %q in %s", title, code, want, errs)
			}
		}
	}
	// Without, what was refused is said, and nothing else.
	_, errs, _ := outcome(t, w.attach("--", "sh", "-c", script))
	if want := "watertight: sh was refused connections or datagrams, or they failed: CONNECT_REFUSED 1 (see the log of the running proxy)\n"; errs != want {
		t.Errorf("said %q", errs)
	}
}

func TestAttach_ProgramsShareTheLimitOfConnections(t *testing.T) {
	lab.Need(t, "curl")
	w := execWorld(t)
	if err := os.WriteFile(w.config(), []byte(w.configText("plain_http: allow, private_targets: allow")+"limits: {connections: 1}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	x := startProxy(t, w)
	p := startAttached(t, w, "--", "sh", "-c", fetches, "http://"+w.plain+"/events")
	p.awaits(t, "data: 0")
	_, errs, code := outcome(t, w.attach("--", "curl", "--silent", "http://"+w.plain+"/hello"))
	if code == 0 || !strings.Contains(errs, "LIMIT ") {
		t.Errorf("one beside another, exit code %d: %s", code, errs)
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	until(t, "the first is gone", func() bool { return len(x.status(t).Contained.List) == 0 })
	if out, errs, code := outcome(t, w.attach("--", "curl", "--silent", "http://"+w.plain+"/hello")); code != 0 {
		t.Errorf("after the other, exit code %d: %s%s", code, out, errs)
	}
}
