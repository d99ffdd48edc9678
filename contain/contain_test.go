package contain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"watertight/contain"
	"watertight/lab"
	"watertight/wire"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Role{Name: "parent", Run: parent}) }

// parent starts a child, says its number, and waits to be killed.
func parent([]string) int {
	cmd := exec.Command("/bin/sleep", "60")
	if err := contain.Start(cmd); err != nil {
		return 1
	}
	fmt.Println(cmd.Process.Pid)
	_ = cmd.Wait()
	return 0
}

func TestPrivate_GivesANetworkWithNothingInIt(t *testing.T) {
	lab.Inside(t)
	if os.Getuid() != 0 {
		t.Errorf("the user is %d", os.Getuid())
	}
	faces, err := net.Interfaces()
	if err != nil || len(faces) != 1 || faces[0].Flags&net.FlagLoopback == 0 || faces[0].Flags&net.FlagUp == 0 {
		t.Errorf("the interfaces are %v: %v", faces, err)
	}
}

func TestNet_KeepsSocketsApart(t *testing.T) {
	lab.Inside(t)
	a, b := lab.Must(contain.NewNet())(t), lab.Must(contain.NewNet())(t)
	defer a.Close()
	defer b.Close()
	var listener *net.TCPListener
	if err := a.Do(func() (err error) {
		listener, err = wire.ListenTCP(netip.MustParseAddrPort("127.0.0.1:7777"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := func() error {
		conn, err := wire.DialTCP(t.Context(), netip.MustParseAddrPort("127.0.0.1:7777"))
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := a.Do(dial); err != nil {
		t.Errorf("from the same network: %v", err)
	}
	if err := b.Do(dial); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("from another network: %v", err)
	}
	if err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("from the process's own network: %v", err)
	}
}

func TestNet_ReportsWorkThatEndedWithoutReturning(t *testing.T) {
	lab.Inside(t)
	n := lab.Must(contain.NewNet())(t)
	defer n.Close()
	err := n.Do(func() error {
		runtime.Goexit()
		return nil
	})
	if err == nil {
		t.Error("no error")
	}
}

// stage runs a shell command on a stage.
func stage(t *testing.T, s contain.Stage, script string) (string, error) {
	t.Helper()
	cmd, release, err := s.Command(t.Context(), os.Environ(), "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := contain.Start(cmd); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	return out.String(), err
}

func TestStage_ShowsItsFilesToTheProgramAlone(t *testing.T) {
	lab.Inside(t)
	before, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	s := contain.Stage{Masks: []string{"/run", "/does/not/exist"}, Files: map[string]string{"/etc/resolv.conf": "nameserver 192.0.2.53\n"}}
	out, err := stage(t, s, "cat /etc/resolv.conf; ls -A /run | wc -l; env | grep -c WATERTIGHT_STAGE")
	if out != "nameserver 192.0.2.53\n0\n0\n" {
		t.Errorf("the program saw %q: %v", out, err)
	}
	if after, err := os.ReadFile("/etc/resolv.conf"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("this process sees %q: %v", after, err)
	}
}

func TestStage_FollowsALinkIntoAMask(t *testing.T) {
	lab.Inside(t)
	dir, hidden := t.TempDir(), t.TempDir()
	link := filepath.Join(dir, "resolv.conf")
	if err := os.Symlink(filepath.Join(hidden, "resolver", "stub.conf"), link); err != nil {
		t.Fatal(err)
	}
	out, err := stage(t, contain.Stage{Masks: []string{hidden}, Files: map[string]string{link: "ours"}}, "cat "+link)
	if out != "ours" || err != nil {
		t.Errorf("the program saw %q: %v", out, err)
	}
	if left, _ := os.ReadDir(hidden); len(left) != 0 {
		t.Errorf("the host was changed: %v", left)
	}
}

func TestStage_DoesNotStartAProgramThatItCannotContain(t *testing.T) {
	lab.Inside(t)
	marker := filepath.Join(t.TempDir(), "started")
	s := contain.Stage{Files: map[string]string{filepath.Join(t.TempDir(), "nothing"): "x"}}
	out, err := stage(t, s, "touch "+marker)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != contain.ExitUncontained || !strings.Contains(out, "could not contain") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("the program was started")
	}
	if _, _, err := s.Command(t.Context(), nil, "relative"); err == nil {
		t.Error("a relative path was taken")
	}
}

func TestStage_PutsTheProgramIntoItsNetwork(t *testing.T) {
	lab.Inside(t)
	n := lab.Must(contain.NewNet())(t)
	defer n.Close()
	var inside string
	if err := n.Do(func() (err error) {
		inside, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// Its files are input, output and errors; the fourth is what ls reads the directory through.
	out, err := stage(t, contain.Stage{Net: n}, "readlink /proc/self/ns/net; exec ls /proc/self/fd | tr '\\n' ' '")
	if out != inside+"\n0 1 2 3 " || err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestStart_ChildrenDieWithTheirParent(t *testing.T) {
	lab.Inside(t)
	in := lab.New(t, "dual")
	p := lab.Must(lab.Self(in.Client, "parent").Start(t.Context()))(t)
	out := lab.Must(p.AwaitOutput(t.Context(), "\n"))(t)
	child := strings.TrimSpace(out.Stdout)
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for alive(child) {
		if ctx.Err() != nil {
			t.Fatalf("process %s lives on", child)
		}
		runtime.Gosched()
	}
}

func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}
