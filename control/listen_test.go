//go:build unix

package control

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"watertight/wire"
)

func TestMain(m *testing.M) {
	wire.Seal()
	m.Run()
}

// short is a directory whose path leaves room for a socket's name.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func listenAt(t *testing.T, path string) *Socket {
	t.Helper()
	s, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// leaveStale makes the socket of a program that died: the file is there, and nobody serves it.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := wire.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("the dead program took its socket with it")
	}
}

func TestListen_MakesDirectoryAndSocketForTheUserAlone(t *testing.T) {
	dir := filepath.Join(short(t), "watertight")
	path := filepath.Join(dir, "s.sock")
	listenAt(t, path)
	if m := mode(t, dir); m != fs.ModeDir|0o700 {
		t.Errorf("the directory's mode is %v", m)
	}
	if m := mode(t, path); m != fs.ModeSocket|0o600 {
		t.Errorf("the socket's mode is %v", m)
	}
	if m := mode(t, filepath.Join(dir, "lock")); m != 0o600 {
		t.Errorf("the lock's mode is %v", m)
	}
}

func TestListen_RefusesASecondProgram(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	first := listenAt(t, path)
	if s, err := Listen(t.Context(), path); !errors.Is(err, ErrRunning) {
		t.Fatalf("the second one: %v, %v", s, err)
	}
	// The first is none the worse for it.
	go func() {
		if conn, err := wire.DialUnix(context.Background(), path); err == nil {
			conn.Close()
		}
	}()
	conn, err := first.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestListen_WaitsForAProgramThatIsStartingInTheSameDirectory(t *testing.T) {
	dir := short(t)
	first, err := takeLock(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(dir, "s.sock")
	if _, err := Listen(ctx, path); !errors.Is(err, errLocked) || !errors.Is(err, context.Canceled) {
		t.Errorf("it did not wait: %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		s, err := Listen(context.Background(), path)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Errorf("it did not wait: %v", err)
	default:
	}
	first.Close()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestListen_RemovesWhatDeadProgramsLeft_AndNothingElse(t *testing.T) {
	dir := short(t)
	dead, alive, other := filepath.Join(dir, "1.sock"), filepath.Join(dir, "2.sock"), filepath.Join(dir, "precious.sock")
	leaveStale(t, dead)
	listenAt(t, alive)
	leaveStale(t, dead) // the one above removed it
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listenAt(t, filepath.Join(dir, "3.sock"))
	if _, err := os.Lstat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket of a dead program is left: %v", err)
	}
	for _, path := range []string{alive, other} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestListen_LetsOneOfManyThatStartTogetherRun(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	leaveStale(t, path)
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			s, err := Listen(t.Context(), path)
			switch {
			case err == nil:
				won.Add(1)
				t.Cleanup(func() { s.Close() })
			case !errors.Is(err, ErrRunning):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of them run", won.Load())
	}
	conn, err := wire.DialUnix(t.Context(), path)
	if err != nil {
		t.Fatalf("nobody listens: %v", err)
	}
	conn.Close()
}

func TestListen_ReplacesTheSocketOfADeadProgram(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	leaveStale(t, path)
	listenAt(t, path)
}

func TestListen_MayFollowOneThatClosed(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	s := listenAt(t, path)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	listenAt(t, path)
}

func TestListen_LeavesASocketThatAnswersAlone(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	other, err := wire.ListenUnix(path) // without our lock
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(t.Context(), path); !errors.Is(err, ErrRunning) {
		t.Errorf("Listen: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("it was removed: %v", err)
	}
}

func TestListen_RemovesNothingButSockets(t *testing.T) {
	dir := short(t)
	file, link := filepath.Join(dir, "file.sock"), filepath.Join(dir, "link.sock")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	leaveStale(t, filepath.Join(dir, "target"))
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link} {
		if _, err := Listen(t.Context(), path); err == nil {
			t.Errorf("%s was replaced", path)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone: %v", path, err)
		}
	}
}

func TestListen_RefusesADirectoryThatIsNotTheUsersOwn(t *testing.T) {
	base := short(t)
	make := func(name string, mode fs.FileMode) string {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	own := make("own", 0o700)
	link := filepath.Join(base, "link")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	others := "/" // of root, who runs no test where this matters
	if os.Geteuid() == 0 {
		others = make("others", 0o700)
		if err := os.Chown(others, 54321, 54321); err != nil {
			t.Fatal(err)
		}
	}
	for what, dir := range map[string]string{
		"a link": link, "a file": file, "another user's": others,
		"for all to write": make("all", 0o777), "for all to write, with the sticky bit": make("sticky", 0o777|fs.ModeSticky),
		"for a group to write": make("group", 0o770), "in a directory that is missing": filepath.Join(base, "missing", "dir"),
	} {
		if s, err := Listen(t.Context(), filepath.Join(dir, "s.sock")); err == nil {
			s.Close()
			t.Errorf("%s: it was taken", what)
		}
	}
}

func TestListen_DoesNotFollowALinkInPlaceOfTheLock(t *testing.T) {
	dir := short(t)
	if err := os.Symlink("elsewhere", filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), filepath.Join(dir, "s.sock")); err == nil {
		t.Error("it was followed")
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("a file was made elsewhere")
	}
}

func TestListen_SaysThatAPathIsTooLong(t *testing.T) {
	_, err := Listen(t.Context(), filepath.Join(short(t), strings.Repeat("x", 100)))
	if err == nil || !strings.Contains(err.Error(), "octets") {
		t.Errorf("Listen: %v", err)
	}
}

func TestSocket_ClosesTheConnectionsOfThoseWhoMayNot(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	s := listenAt(t, path)
	allowed := s.may
	turn := 0
	s.may = func(c *net.UnixConn) error {
		if turn++; turn == 1 {
			return errors.New("may not")
		}
		return allowed(c)
	}
	var conns [2]net.Conn
	for i := range conns {
		var err error
		if conns[i], err = wire.DialUnix(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
	}
	taken, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(taken, "for you"); err != nil {
		t.Fatal(err)
	}
	taken.Close()
	for i, want := range []string{"", "for you"} {
		if got, _ := io.ReadAll(conns[i]); string(got) != want {
			t.Errorf("connection %d got %q, want %q", i, got, want)
		}
	}
}
