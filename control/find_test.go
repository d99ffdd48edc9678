//go:build unix

package control

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/wire"
)

// user is a host with directories of its own for a user.
func user(t *testing.T) host {
	t.Helper()
	base := short(t)
	for _, d := range []string{"run", "tmp", "xdg"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"XDG_RUNTIME_DIR": filepath.Join(base, "xdg")}
	return host{
		uid: 1000, env: func(k string) string { return env[k] },
		temp: filepath.Join(base, "tmp"), system: filepath.Join(base, "run", "watertight"),
	}
}

// serves runs a program with a proxy port and a configuration in one of the places, and gives its socket.
func (h host) serves(t *testing.T, place, pid int, at, file string) string {
	t.Helper()
	path := filepath.Join(h.places()[place].dir, fmt.Sprintf("%d.sock", pid))
	running(t, path, &source{status: Status{PID: pid, Listeners: []Listener{{"admin", "127.0.0.1:9"}, {"proxy", at}}, Config: Config{Path: file}}})
	return path
}

func at(text ...string) Wanted {
	var w Wanted
	for _, s := range text {
		w.Listen = append(w.Listen, netip.MustParseAddrPort(s))
	}
	return w
}

func TestFind_LooksWhereAProgramMayHaveBeenStarted(t *testing.T) {
	for i := range 3 {
		h := user(t)
		if _, err := h.find(t.Context(), at("127.0.0.1:8080")); !errors.Is(err, ErrNotRunning) ||
			!strings.Contains(err.Error(), "127.0.0.1:8080") || !strings.Contains(err.Error(), h.places()[i].dir) {
			t.Errorf("nothing runs: %v", err)
		}
		want := h.serves(t, i, 7, "127.0.0.1:8080", "")
		if got, err := h.find(t.Context(), at("127.0.0.1:8080")); err != nil || got != want {
			t.Errorf("find: %q, %v; want %q", got, err, want)
		}
	}
}

func TestFind_KnowsAProgramByWhatItTells(t *testing.T) {
	h := user(t)
	dir := short(t)
	file, link := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "link.yaml")
	if err := os.WriteFile(file, []byte("no: [yaml"), 0o600); err != nil { // it is not read
		t.Fatal(err)
	}
	if err := os.Symlink("a.yaml", link); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "gone.yaml")
	byFile := h.serves(t, 0, 1, "127.0.0.1:8080", file)
	byGone := h.serves(t, 0, 2, "[::]:8081", gone)
	byDefault := h.serves(t, 1, 3, "[::1]:8082", "")
	for what, c := range map[string]struct {
		w    Wanted
		want string
	}{
		"its file":                       {Wanted{File: file}, byFile},
		"another name of its file":       {Wanted{File: link}, byFile},
		"a file that is gone":            {Wanted{File: gone}, byGone},
		"the defaults":                   {Wanted{}, byDefault},
		"its address":                    {at("127.0.0.1:8080"), byFile},
		"its address, written as IPv4":   {at("0.0.0.0:8081"), byGone},
		"its address, whatever the file": {Wanted{Listen: at("[::1]:8082").Listen, File: file}, byDefault},
	} {
		if got, err := h.find(t.Context(), c.w); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", what, got, err, c.want)
		}
	}
	for what, w := range map[string]Wanted{
		"another file":         {File: filepath.Join(dir, "b.yaml")},
		"another port":         at("127.0.0.1:8083"),
		"another address":      at("127.0.0.2:8080"),
		"one address of two":   at("127.0.0.1:8080", "[::1]:8082"),
		"the admin's address":  at("127.0.0.1:9"),
		"the directory of one": {File: dir},
	} {
		got, err := h.find(t.Context(), w)
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %q, %v", what, got, err)
			continue
		}
		for _, tells := range []string{w.String(), "127.0.0.1:8080: pid 1, " + file, "[::1]:8082: pid 3, the defaults", "--listen"} {
			if !strings.Contains(err.Error(), tells) {
				t.Errorf("%s: %q is not told: %v", what, tells, err)
			}
		}
	}
}

func TestFind_OfSeveralTakesNone_AndSaysHowToTellThem(t *testing.T) {
	h := user(t)
	h.serves(t, 0, 1, "127.0.0.1:8080", "/etc/a.yaml")
	want := h.serves(t, 2, 2, "127.0.0.1:8081", "/etc/a.yaml")
	got, err := h.find(t.Context(), Wanted{File: "/etc/a.yaml"})
	if !errors.Is(err, ErrSeveral) || !strings.Contains(err.Error(), "127.0.0.1:8080: pid 1") || !strings.Contains(err.Error(), "127.0.0.1:8081: pid 2") {
		t.Errorf("find: %q, %v", got, err)
	}
	if got, err := h.find(t.Context(), at("127.0.0.1:8081")); err != nil || got != want {
		t.Errorf("find: %q, %v; want %q", got, err, want)
	}
}

func TestFind_PassesOverWhatDoesNotAnswer(t *testing.T) {
	for _, first := range []struct {
		name string
		read int // octets of the question that are read before it is answered
	}{{"it answers nonsense", 1}, {"it speaks before it is asked", 0}} {
		t.Run(first.name, func(t *testing.T) { passesOver(t, first.read) })
	}
}

func passesOver(t *testing.T, read int) {
	h := user(t)
	if err := os.Mkdir(h.places()[0].dir, 0o700); err != nil {
		t.Fatal(err)
	}
	leaveStale(t, filepath.Join(h.places()[0].dir, "1.sock"))
	if err := os.WriteFile(filepath.Join(h.places()[0].dir, "2.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	liar, err := wire.ListenUnix(filepath.Join(h.places()[0].dir, "3.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close()
	go func() {
		for {
			conn, err := liar.Accept()
			if err != nil {
				return
			}
			io.CopyN(io.Discard, conn, int64(read))
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno\n")
			conn.Close()
		}
	}()
	if got, err := h.find(t.Context(), Wanted{}); err == nil || errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "3.sock") {
		t.Errorf("what is in the way is not told: %q, %v", got, err)
	}
	want := h.serves(t, 2, 7, "127.0.0.1:8080", "")
	if got, err := h.find(t.Context(), Wanted{}); err != nil || got != want {
		t.Errorf("find: %q, %v; want %q", got, err, want)
	}
}

func TestFind_DoesNotTrustADirectoryThatOthersCanWriteTo(t *testing.T) {
	h := user(t)
	h.serves(t, 1, 7, "127.0.0.1:8080", "") // among the temporary files
	if err := os.Chmod(h.places()[1].dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got, err := h.find(t.Context(), Wanted{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("find: %q, %v", got, err)
	}
}

func TestFind_SaysWhoseADirectoryIsThatItCannotRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read every directory")
	}
	h := user(t)
	if err := os.Mkdir(h.system, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := h.find(t.Context(), Wanted{}); err == nil || !strings.Contains(err.Error(), "sudo") {
		t.Errorf("find: %v", err)
	}
}
