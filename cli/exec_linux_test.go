package cli_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"watertight/lab"
)

// ordinary is a user without any right.
const ordinary = 65534

// execWorld is a world whose files everybody may read.
func execWorld(t *testing.T) *world {
	t.Helper()
	dir := lab.Must(os.MkdirTemp("", "watertight-exec-"))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	w, end, err := newWorld(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	for path, mode := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "ca.pem"): 0o644, w.config(): 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// exec prepares `watertight exec` with arguments, as this user or as the ordinary one.
func (w *world) exec(user int, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{"exec", "-c", w.config()}, args...)...)
	cmd.Args[0] = "watertight"
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "HOME=/nonexistent", "XDG_STATE_HOME=/nonexistent")
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if user != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}
	}
	return cmd
}

// outcome runs a command to its end.
func outcome(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if strings.Contains(errs.String(), "does not allow user namespaces") {
		lab.Lacking(t, "no namespaces: %s", errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// users are whoever this test can be.
func users() map[string]int {
	if os.Getuid() != 0 {
		return map[string]int{"an ordinary user": os.Getuid()}
	}
	return map[string]int{"root": 0, "an ordinary user": ordinary}
}

func TestExec_CarriesProgramsThatKnowOfNoProxy(t *testing.T) {
	lab.Need(t, "curl", "dig")
	w := execWorld(t)
	for who, user := range users() {
		t.Run(who, func(t *testing.T) {
			for _, family := range []string{"-4", "-6"} {
				out, errs, code := outcome(t, w.exec(user, "--", "curl", "--silent", "--show-error", family, "http://"+w.plain+"/hello"))
				if out != "hello from "+w.plain+" /hello\n" || code != 0 || errs != "" {
					t.Errorf("curl %s: %q, exit code %d: %s", family, out, code, errs)
				}
			}
			digs, want := "", ""
			for _, server := range []string{"@8.8.8.8", "@2001:db8::53", "@127.0.0.53", ""} {
				for _, how := range []string{"+notcp", "+tcp"} {
					digs += "dig +tries=1 +short " + how + " " + server + " text.shop.example.net TXT\n"
					want += "\"hello world\"\n"
				}
			}
			if out, errs, code := outcome(t, w.exec(user, "--", "sh", "-c", digs)); out != want || code != 0 {
				t.Errorf("%s: %q, exit code %d: %s", digs, out, code, errs)
			}
			if out, errs, code := outcome(t, w.exec(user, "--", "id", "-u")); strings.TrimSpace(out) != strconv.Itoa(user) {
				t.Errorf("the user inside is %q, exit code %d: %s", out, code, errs)
			}
		})
	}
}

// asks connects to, or sends datagrams to, addresses that nobody gave out, and says how each ended.
const asks = `
import socket, sys
for what in sys.argv[1:]:
    kind, addr, port = what.split()
    s = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, getattr(socket, "SOCK_" + kind))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.settimeout(20)
    try:
        s.connect((addr, int(port)))
        s.send(b"GET / HTTP/1.0\r\n\r\n")
        print("got", s.recv(100))
    except OSError as e:
        print(type(e).__name__)
`

func TestExec_TellsAProgramAtOnceWhatIsNotCarried(t *testing.T) {
	lab.Need(t, "python3")
	w := execWorld(t)
	args, want := []string{"--", "python3", "-I", "-c", asks}, ""
	for _, c := range []struct{ asked, told string }{
		{"STREAM 127.0.0.1 " + w.port, "ConnectionRefusedError"}, // of its own host, where nobody listens
		{"STREAM 192.0.2.4 " + w.port, "ConnectionResetError"},
		{"STREAM 2001:db8::7 " + w.port, "ConnectionResetError"},
		{"DGRAM 192.0.2.4 4433", "ConnectionRefusedError"},
		{"DGRAM 2001:db8::7 4433", "ConnectionRefusedError"},
		{"DGRAM 224.0.0.251 5353", "PermissionError"},
		{"DGRAM ff0e::fb 5353", "PermissionError"},
		{"DGRAM 255.255.255.255 9", "PermissionError"},
	} {
		args, want = append(args, c.asked), want+c.told+"\n"
	}
	out, errs, _ := outcome(t, w.exec(os.Getuid(), args...))
	if out != want {
		t.Errorf("%q\n%s, want\n%s: %s", args[5:], out, want, errs)
	}
	if !strings.Contains(errs, "POLICY_CLIENT_RESOLVED 4") {
		t.Errorf("at the end it says %q", errs)
	}
	if n := len(w.asked()); n != 0 {
		t.Errorf("an origin was reached %d times", n)
	}
}

func TestExec_GivesTheProgramsExitCode(t *testing.T) {
	w := execWorld(t)
	script := filepath.Join(w.dir, "script") // its first line names no interpreter
	if err := os.WriteFile(script, []byte("exit $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want    int
		command []string
	}{
		{4, []string{script, "4"}},
		{0, []string{"true"}},
		{7, []string{"sh", "-c", "exit 7"}},
		{128 + 9, []string{"sh", "-c", "kill -9 $$"}},
		{127, []string{"no-such-program"}},
		{127, []string{"/no/such/program"}},
		{126, []string{"/etc/passwd"}},
		{2, []string{"sh", "-c", "exit 2"}},
	} {
		out, errs, code := outcome(t, w.exec(os.Getuid(), append([]string{"--bind", w.dir, "--"}, c.command...)...))
		if code != c.want || out != "" || (errs != "") != (c.want == 126 || c.want == 127) {
			t.Errorf("%v: exit code %d, want %d: %s%s", c.command, code, c.want, out, errs)
		}
	}
}

func TestExec_LeavesTheProgramItsInputItsDirectoryAndItsVariables(t *testing.T) {
	w := execWorld(t)
	cmd := w.exec(os.Getuid(), "--keep-env", "SSH_AUTH_SOCK", "--", "sh", "-c", "cat; pwd; echo $ORDINARY $SSH_AUTH_SOCK $DBUS_SESSION_BUS_ADDRESS")
	cmd.Stdin = strings.NewReader("input\n")
	cmd.Dir = "/usr"
	cmd.Env = append(cmd.Env, "ORDINARY=ordinary", "SSH_AUTH_SOCK=/agent", "DBUS_SESSION_BUS_ADDRESS=unix:path=/bus")
	if out, errs, _ := outcome(t, cmd); out != "input\n/usr\nordinary /agent\n" {
		t.Errorf("%q: %s", out, errs)
	}
}

func TestExec_NeverStartsAProgramThatItCannotContain(t *testing.T) {
	lab.Need(t, "unshare", "bash")
	w := execWorld(t)
	touch := filepath.Join(w.dir, "started")
	if err := os.Chmod(w.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	program := []string{"--", "touch", touch}
	dead := filepath.Join(w.dir, "dead.yaml")
	if err := os.WriteFile(dead, []byte(strings.ReplaceAll(w.configText(""), w.dotURL(), "tls://127.0.0.1:"+w.dead)), 0o644); err != nil {
		t.Fatal(err)
	}
	_ = w.doh.Close()
	for title, c := range map[string]struct {
		args []string
		want string
	}{
		"no file":                 {[]string{"-c", "/no/such/file"}, "/no/such/file"},
		"no channel":              {[]string{"--channel", "other"}, `there is no channel "other"; the configuration has direct`},
		"no resolver":             {[]string{"-c", dead}, "refused the connection"},
		"no preset":               {[]string{"--resolver", "foo"}, `there is no preset "foo"`},
		"no level":                {[]string{"--log-level", "loud"}, "not `loud`"},
		"no file but a directory": {[]string{"-c", "/"}, "is a directory"},
		"no such flag":            {[]string{"--sloppy"}, "unknown flag: --sloppy"},
		"an empty flag":           {[]string{"--channel", ""}, "--channel is empty"},
		"no port":                 {[]string{"--publish", "0"}, `--publish "0" is not PORT or PORT:PORT`},
		"a port that is taken":    {[]string{"--publish", w.port}, "address already in use"},
		"a directory of the host": {[]string{"--bind", "/run"}, "--bind /run would open what the hull is for"},
	} {
		out, errs, code := outcome(t, w.exec(os.Getuid(), append(c.args, program...)...))
		if code != 125 || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit code %d: %s%s", title, code, out, errs)
		}
	}
	// In a directory that is not there.
	gone := exec.Command("bash", "-c", `mkdir "$0/gone" && cd "$0/gone" && rmdir "$0/gone" && exec -a watertight "$@"`, w.dir, lab.Must(os.Executable())(t), "exec", "-c", w.config(), "--", "touch", touch)
	text, err := gone.CombinedOutput()
	if gone.ProcessState.ExitCode() != 125 || !strings.Contains(string(text), "touch was not started: the working directory is gone") {
		t.Errorf("no working directory: %v: %s", err, text)
	}
	// In a chroot.
	if os.Getuid() == 0 {
		root := exec.Command("unshare", "-m", "bash", "-c", `mount --rbind / "$0" && exec chroot "$0" bash -c 'exec -a watertight "$@"' sh "$@"`, t.TempDir(), lab.Must(os.Executable())(t), "exec", "-c", w.config(), "--", "touch", touch)
		text, err = root.CombinedOutput()
		if root.ProcessState.ExitCode() != 125 || !strings.Contains(string(text), "in a chroot there are none") {
			t.Errorf("a chroot: %v: %s", err, text)
		}
	}
	// In a namespace where no more of them are allowed.
	none := exec.Command("unshare", "-Ur", "bash", "-c", `echo 0 > /proc/sys/user/max_user_namespaces && exec -a watertight "$@"`, "sh", lab.Must(os.Executable())(t), "exec", "-c", w.config(), "--", "touch", touch)
	text, err = none.CombinedOutput()
	if none.ProcessState.ExitCode() != 125 || !strings.Contains(string(text), "sysctl user.max_user_namespaces") {
		t.Errorf("no namespaces: %v: %s", err, text)
	}
	if _, err := os.Stat(touch); !os.IsNotExist(err) {
		t.Errorf("the program was started: %v", err)
	}
}

func TestExec_PassesSignalsOn(t *testing.T) {
	w := execWorld(t)
	cmd := w.exec(os.Getuid(), "--", "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
	out := newText()
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	if _, err := out.await(regexp.MustCompile("up"), ended); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code := cmd.ProcessState.ExitCode(); code != 9 {
		t.Errorf("exit code %d", code)
	}
}

func TestExec_LeavesIgnoredWhatNohupIgnores(t *testing.T) {
	lab.Need(t, "bash")
	w := execWorld(t)
	for _, c := range []struct {
		ignored string
		want    uint64 // a bit for each signal, as in proc_pid_status(5)
	}{{"HUP", 1 << 0}, {"HUP INT", 1<<0 | 1<<1}, {"", 0}} {
		script := `for s in $0; do trap "" $s; done; exec -a watertight "$@"`
		out, errs, code := outcome(t, exec.Command("bash", "-c", script, c.ignored, lab.Must(os.Executable())(t), "exec", "-c", w.config(), "--", "grep", "SigIgn", "/proc/self/status"))
		got, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(out, "SigIgn:")), 16, 64)
		if err != nil || code != 0 || got&3 != c.want {
			t.Errorf("%q: %q, exit code %d: %s", c.ignored, out, code, errs)
		}
	}
}

func TestExec_ProgramEndsWithTheOneThatCarriesIt(t *testing.T) {
	w := execWorld(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cmd := w.exec(os.Getuid(), "--", "sh", "-c", "echo up; sleep 300")
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	up := make([]byte, 3)
	if _, err := io.ReadFull(reader, up); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := io.ReadAll(reader); err != nil { // it ends when nobody is left who could write
		t.Error(err)
	}
}

// overruns holds connections by several processes, more than there can be descriptors for them outside, and ends.
const overruns = `
import os, socket, sys
host, port = sys.argv[1].split(":")
children = [os.fork() for _ in range(2)] # four processes
held = []
for _ in range(60):
    try: held.append(socket.create_connection((host, int(port)), 1))
    except OSError: pass
for child in children:
    if child: os.waitpid(child, 0)
`

func TestExec_AProgramThatWantsMoreConnectionsThanThereAreDescriptorsIsServedWhenItEndsThem(t *testing.T) {
	lab.Need(t, "python3", "curl", "bash")
	w := execWorld(t)
	inner := w.exec(os.Getuid(), "--", "sh", "-c", `python3 -I -c "$1" "$2" && exec curl --silent --show-error --retry 5 --retry-all-errors "http://$2/hello"`, "sh", overruns, w.plain)
	cmd := exec.Command("bash", append([]string{"-c", `ulimit -n 100; exec -a watertight "$@"`, "sh", lab.Must(os.Executable())(t)}, inner.Args[1:]...)...)
	cmd.Dir, cmd.Env = inner.Dir, inner.Env
	out, errs, code := outcome(t, cmd)
	if out != "hello from "+w.plain+" /hello\n" || code != 0 {
		t.Errorf("%q, exit code %d: %s", out, code, errs)
	}
	if !strings.Contains(errs, "cannot accept connections for now") {
		t.Errorf("INVALID: the descriptors were enough: %s", errs)
	}
}

func TestExec_PublishedPortsAreReachable(t *testing.T) {
	lab.Need(t, "python3")
	w := execWorld(t)
	cmd := w.exec(os.Getuid(), "--publish", w.dead+":80", "--publish", w.dead, "--", "true")
	if _, errs, code := outcome(t, cmd); code != 125 {
		t.Errorf("a port was published twice: exit code %d: %s", code, errs)
	}
	port := freePort(t)
	serves := w.exec(os.Getuid(), "--publish", port+":8099", "--", "python3", "-I", "-u", "-m", "http.server", "8099")
	out := newText()
	serves.Stdout, serves.Stderr = out, out
	if err := serves.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = serves.Wait(); close(ended) }()
	defer func() { _ = serves.Process.Kill(); <-ended }()
	if _, err := out.await(regexp.MustCompile("Serving HTTP"), ended); err != nil {
		t.Fatal(err, out)
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if reply, err := io.ReadAll(conn); err != nil || !strings.Contains(string(reply), " 200 OK\r\n") {
		t.Errorf("%.100s: %v", reply, err)
	}
}

// freePort is a port on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l := lab.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	return portOf(l.Addr())
}
